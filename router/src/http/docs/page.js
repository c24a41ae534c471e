// The page's own part: Swagger UI without its bar, on the description of this very router.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#routes",
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  tryItOutEnabled: true,
  displayRequestDuration: true,
});
