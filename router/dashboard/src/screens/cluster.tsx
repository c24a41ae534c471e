// Which worker has which shard, and which coordinators agree.
import { useLive } from "../api/live";
import type { ShardMap, Status } from "../api/types";
import { Answer, Badge, Notice, Panel, Scroll } from "../ui/parts";
import { t } from "../words";
import { ago, bytes, number } from "../words/numbers";
import { modelName } from "./models";

const SIGNS: Record<string, string> = { ready: "", loading: "…", failed: "!", down: "✕" };

/** What a placed version is there for. */
function serving(serves: string): string {
  const names: Record<string, string> = { live: t("live"), promoting: t("comes live"), previous: t("the one before") };
  return names[serves] ?? serves;
}

function states(): Record<string, string> {
  return { ready: t("ready"), loading: t("loading"), failed: t("cannot be loaded"), down: t("the worker is down") };
}

function Heat({ map }: { map: ShardMap }) {
  const workers = map.workers;
  const names = states();
  return (
    <>
      <ul class="key">
        <li><i class="cell ready owner" /> {t("owner")}</li>
        <li><i class="cell ready" /> {t("replica")}</li>
        <li><i class="cell loading">…</i> {t("loading")}</li>
        <li><i class="cell failed">!</i> {t("cannot be loaded")}</li>
        <li><i class="cell down">✕</i> {t("the worker is down")}</li>
        <li><i class="cell" /> {t("not placed here")}</li>
      </ul>
      {map.versions.map((version) => {
        const lost = version.shards.filter((shard) => !shard.served).length;
        return (
          <section key={version.version} class="heat">
            <h3>
              {modelName(version.model)} <small>{serving(version.serves)}</small> <code>{version.version}</code> {lost > 0 ? <Badge tone="bad">{t("{n} shards are served by nobody", { n: lost })}</Badge> : <Badge tone="good">{t("every shard is served")}</Badge>}
            </h3>
            <Scroll label={version.version}>
              <table>
                <tbody>
                  {workers.map((worker) => (
                    <tr key={worker.worker}>
                      <th scope="row">{worker.worker}</th>
                      {version.shards.map((shard) => {
                        const at = shard.replicas.findIndex((replica) => replica.worker === worker.worker);
                        const state = shard.replicas[at]?.state;
                        const name = `${shard.side === "users" ? t("users") : t("items")} ${shard.shard}, ${worker.worker}: ${state === undefined ? t("not placed here") : `${at === 0 ? t("owner") : t("replica")}, ${names[state] ?? state}`}`;
                        return (
                          <td key={`${shard.side} ${shard.shard}`} class={shard.side === "items" && shard.shard === 0 ? "gap" : ""}>
                            <i class={`cell ${state ?? ""} ${at === 0 ? "owner" : ""}`} role="img" aria-label={name} title={name}>
                              {state === undefined ? "" : (SIGNS[state] ?? "?")}
                            </i>
                          </td>
                        );
                      })}
                    </tr>
                  ))}
                </tbody>
              </table>
            </Scroll>
          </section>
        );
      })}
    </>
  );
}

export function Cluster() {
  const map = useLive<ShardMap>("admin/v1/shards", 2_000);
  const status = useLive<Status>("admin/v1/status", 2_000);
  return (
    <>
      <h1>{t("Cluster")}</h1>
      <div class="grid two">
        <Panel title={t("Workers and routers")} request="admin/v1/status">
          <Answer live={status} lines={4}>
            {({ nodes }) => (
              <Scroll label={t("Workers and routers")}>
                <table>
                  <thead>
                    <tr>
                      <th>{t("Node")}</th>
                      <th>{t("State")}</th>
                      <th class="num">{t("Shards ready")}</th>
                      <th class="num">{t("Served")}</th>
                      <th class="num">{t("Disk free")}</th>
                      <th>{t("Started")}</th>
                    </tr>
                  </thead>
                  <tbody>
                    {nodes.map((node) => (
                      <tr key={node.name}>
                        <th scope="row">{node.name}</th>
                        <td>
                          <Badge tone={node.health === "up" ? "good" : "bad"}>{node.health === "up" ? t("up") : t("down since {time}", { time: ago(node.down_since) })}</Badge>
                        </td>
                        <td class="num">{node.shards ? `${node.shards.ready} / ${node.shards.placed}` : ""}</td>
                        <td class="num">{node.shards ? bytes(node.served_bytes) : ""}</td>
                        <td class="num">{bytes(node.disk_free_bytes)}</td>
                        <td>{ago(node.started)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Scroll>
            )}
          </Answer>
        </Panel>
        <Panel title={t("Coordinators")} help={t("They agree by raft on what is live and placed where. More than half of them have to be up.")} request="admin/v1/status">
          <Answer live={status} lines={3}>
            {(found) => (
              <Scroll label={t("Coordinators")}>
                <table>
                  <thead>
                    <tr>
                      <th>{t("Member")}</th>
                      <th>{t("State")}</th>
                      <th class="num">{t("Log entries behind")}</th>
                      <th class="num">{t("Disk free")}</th>
                      <th>{t("Started")}</th>
                    </tr>
                  </thead>
                  <tbody>
                    {found.coordinators.map((member) => (
                      <tr key={member.raft_id}>
                        <th scope="row">{number(member.raft_id)} <small>{member.address}</small></th>
                        <td>
                          <Badge tone={member.leader ? "accent" : member.recently_active ? "good" : "bad"}>{member.leader ? t("leads, term {term}", { term: number(found.term) }) : member.recently_active ? t("follows") : t("does not answer")}</Badge>
                        </td>
                        <td class="num">{number(Math.max(found.commit_index - member.matched, 0))}</td>
                        <td class="num">{bytes(member.disk_free_bytes)}</td>
                        <td>{ago(member.started)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Scroll>
            )}
          </Answer>
        </Panel>
        <Panel title={t("Shards by worker")} help={t("Users and items are split into shards; a worker that owns one answers for it first. Columns are shards, users first, then items.")} request="admin/v1/shards" wide>
          <Answer live={map} lines={8}>{(found) => (found.versions.length === 0 ? <Notice kind="empty" title={t("No version is live.")} /> : <Heat map={found} />)}</Answer>
        </Panel>
      </div>
    </>
  );
}
