// The models by the names that requests take, with what people call them.
export const MODELS = ["als", "item_cf", "content", "ease", "hybrid"];

const NAMES: Record<string, string> = { als: "ALS", item_cf: "Item CF", content: "Content", content_based: "Content", ease: "EASE", hybrid: "Hybrid", popularity: "Popularity" };

export function modelName(model: string): string {
  return NAMES[model] ?? model;
}

/** The name that requests take for the model of a version. */
export function requestName(model: string): string {
  return model === "content_based" ? "content" : model;
}
