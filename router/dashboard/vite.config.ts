// How the dashboard is built: one script, one style sheet and a page, with addresses relative to the page, so that it works below
// any path of a proxy. `files.in` lists them for the router, which compiles them in.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const cluster = process.env.SHOAL_URL ?? "http://127.0.0.1:8000";

/** Writes `files.in` beside what was built: an expression of Rust with every file. */
function listFiles(): Plugin {
  let folder = "dist";
  return {
    name: "list-files",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir;
    },
    closeBundle() {
      const names = readdirSync(folder).filter((name) => name !== "files.in");
      const rows = names.sort().map((name) => `    ("${name}", include_bytes!("${name}")),\n`);
      writeFileSync(join(folder, "files.in"), `&[\n${rows.join("")}]\n`);
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [listFiles()],
  build: {
    target: "es2022",
    assetsDir: "",
    // Nothing may stand in the page's text: its policy lets no script or style run from there.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: false,
    reportCompressedSize: true,
  },
  server: {
    proxy: {
      "/admin": { target: cluster, changeOrigin: true },
      "/v1": { target: cluster, changeOrigin: true },
      "/openapi.json": { target: cluster, changeOrigin: true },
    },
  },
  test: { include: ["tests/unit/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
