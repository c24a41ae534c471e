// The parts of the router's answers that the dashboard reads; field names are those of the API.

export interface Node {
  name: string;
  role: "worker" | "router" | "coordinator";
  address: string;
  health: string;
  threads: number;
  version: string | null;
  started: string | null;
  down_since: string | null;
  loss: string | null;
  waits_for: string | null;
  disk_free_bytes: number | null;
  disk_size_bytes: number | null;
  served_bytes?: number | null;
  http_address?: string | null;
  shards?: { placed: number; ready: number };
  load_errors?: Record<string, string>;
}

export interface Coordinator {
  raft_id: number;
  address: string;
  leader: boolean;
  matched: number;
  recently_active: boolean;
  version: string | null;
  started: string | null;
  disk_free_bytes: number | null;
  disk_size_bytes: number | null;
}

export interface Served {
  model: string;
  live_version: string | null;
  previous_version: string | null;
  promoting_version: string | null;
}

export interface Status {
  cluster_id: string;
  insecure: boolean;
  term: number;
  commit_index: number;
  applied_index: number;
  coordinators: Coordinator[];
  nodes: Node[];
  default_model: string | null;
  models: Served[];
  shards: { total: number; served: number; fully_replicated: number };
  replicas_asked: number | null;
  unreachable: { worker: string; reason: string; since: string | null }[];
}

export interface Trouble {
  rule: string;
  severity: string;
  what: string;
  why: string[];
  remedy: string;
}

export interface Troubles {
  wrong: Trouble[];
  only_prometheus_tells: string[];
}

export interface Ranking {
  users: number;
  users_in_all: number;
  ndcg_at_20: number;
  recall_at_20: number;
  popularity_ndcg_at_20?: number;
  popularity_recall_at_20?: number;
}

export interface RatingErrors {
  pairs: number;
  rmse: number;
  mae: number;
  r2: number;
}

export interface Sweep {
  sweep: number;
  seconds: number;
  rating: RatingErrors | null;
  ranking: Ranking | null;
}

export type Lists = Record<string, number>;

export interface Evaluation {
  coverage: number | null;
  gini: number | null;
  lists: Lists | null;
  popularity: Lists | null;
  random: Lists | null;
  rating: RatingErrors | null;
  rating_baseline: RatingErrors | null;
}

export interface Version {
  name: string;
  model: string;
  state: string;
  dataset: string;
  dataset_version: string;
  parameters: Record<string, unknown> | null;
  protocol: string | null;
  evaluation: Evaluation | null;
  remarks: string[];
  sources: { weights_given: boolean; blended: { model: string; version: string | null; weight: number }[] } | null;
  metrics: Sweep | null;
  training_seconds: number;
  created: string | null;
  job_id: string | null;
  imported_from: string | null;
  path: string;
  manifest_checksum: string;
  /** Of one version alone. */
  sweeps?: Sweep[];
  files?: { path: string; bytes: number; checksum: string }[] | null;
}

export interface Job {
  job_id: string;
  kind: string;
  state: string;
  attempt: number;
  phase: string;
  progress: number;
  remaining_seconds: number | null;
  error: string | null;
  created: string | null;
  finished: string | null;
  dataset_name: string | null;
  submitter: string | null;
  parameters: Record<string, unknown> | null;
  committed_sweeps: number;
  sweeps: Sweep[];
  model_version: string | null;
  seconds: number;
  phase_seconds: Record<string, number>;
  left_out: { attempt: number; worker: string; reason: string }[];
}

export interface Rejection {
  reason: string;
  count: number;
  examples: { file: string; line: number; reason: string }[];
}

export interface Dataset {
  name: string;
  version: string;
  users: number;
  items: number;
  ratings: number;
  catalogue_items: number;
  tags: number;
  genome_items: number;
  rating_min: number;
  rating_max: number;
  rating_mean: number;
  shard_count: number;
  path: string;
  manifest_checksum: string;
  created: string | null;
  source_uri: string;
  report: ImportReport | null;
}

export interface ImportReport {
  bytes_read: number;
  duplicates: number;
  duplicate_rule: string;
  empty_files: string[];
  files: string[];
  item_ids: { kind: string; because: string };
  not_read: string[];
  rejections: Rejection[];
  rows_accepted: number;
  rows_read: number;
  rows_without_time: number;
  user_ids: { kind: string; because: string };
  understood: {
    file: string;
    content: string;
    format: string;
    delimiter: string;
    encoding: string;
    header: boolean;
    times: string;
    notes: string[];
    columns: { name: string; number: number; role: string; candidates: string[] }[];
  }[];
}

export type Id = number | string;

export interface Contribution {
  item_id: Id;
  title: string | null;
  contribution: number;
}

export interface Listed {
  item_id: Id;
  title: string | null;
  categories: string[];
  predicted_rating: number | null;
  score: number;
  rank: number;
  model: string;
  explanation?: {
    score: number;
    items: Contribution[];
    sources?: { model: string; level: number; weight: number; contribution: number }[];
  };
}

export interface Recommendations {
  user_id: Id | null;
  items: Listed[];
  model_version: string;
  source: string;
  ranked_by: string;
  shards: { total: number; ok: number; failed: number };
  unknown_items?: Id[];
  unknown_categories?: string[];
}

export interface Found {
  item_id: Id;
  title: string | null;
  categories: string[];
  year: number | null;
  ratings: number;
  popularity: number | null;
  match?: string;
}

export interface FoundItems {
  items: Found[];
  matched: number;
}

export interface Similar {
  items: { item_id: Id; title: string | null; categories: string[]; score?: number; similarity?: number; rank: number }[];
  model_version: string;
}

export interface Health {
  status: string;
  cache_stats: { size: number; max_size: number; hits: number; misses: number; evictions: number };
}

export interface Page<T> {
  entries: T[];
  total: number;
}

export interface Requests {
  requests: number;
  p50_ms: number | null;
  p99_ms: number | null;
  statuses: Record<string, number>;
  sources: Record<string, number>;
}

export interface Stretch extends Requests {
  began: string;
  seconds: number;
  per_second: number;
}

export interface RouteTraffic extends Requests {
  route: string;
}

export interface Traffic {
  since: string | null;
  step: number;
  stretches: Stretch[];
  routes: RouteTraffic[];
}

export interface ShardMap {
  replicas_asked: number | null;
  workers: { worker: string; health: string; placed: number; ready: number; served_bytes: number | null; disk_free_bytes: number | null }[];
  total: number;
  versions: {
    version: string;
    model: string;
    serves: string;
    shards: { side: string; shard: number; served: boolean; replicas: { worker: string; state: string }[] }[];
    load_errors: Record<string, string>;
  }[];
}

export interface Ratings {
  ratings: { item_id: Id; title: string | null; categories: string[]; year: number | null; rating: number | null }[];
  total: number;
}
