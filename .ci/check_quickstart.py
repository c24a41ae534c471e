"""Checks the one JSON object that `quickstart --exit --json` printed for ml-latest-small."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    answer = json.load(file)

problems = []


def expect(what, holds):
    if not holds:
        problems.append(what)


dataset = answer["dataset"]
expect("100,836 ratings", dataset["ratings"] == 100_836)
expect("610 users", dataset["users"] == 610)
expect("9,742 movies", dataset["items"] == 9_742)

rating, ranking = answer["metrics"]["rating"], answer["metrics"]["ranking"]
expect("rmse of at most 0.860", rating["rmse"] <= 0.860)
expect(
    "ndcg@20 of at least 1.7 times popularity's",
    ranking["ndcg_at_20"] >= 1.7 * ranking["popularity_ndcg_at_20"],
)

sample = answer["sample_answer"]
listed = sample["items"]
expect("an answer from the model", sample["source"] == "model")
expect("the version that was trained", sample["model_version"] == answer["version"])
expect("ten items", len(listed) == 10)
expect("ten different items", len({item["item_id"] for item in listed}) == 10)
expect("a title for each", all(item["title"] for item in listed))
expect("ranks from 1", [item["rank"] for item in listed] == list(range(1, len(listed) + 1)))
scores = [item["score"] for item in listed]
expect("descending scores", scores == sorted(scores, reverse=True))

if problems:
    print("quickstart's answer lacks: " + "; ".join(problems))
    print(json.dumps(answer, indent=2))
    sys.exit(1)
print(f"quickstart: rmse {rating['rmse']:.4f}, ndcg@20 {ranking['ndcg_at_20']:.4f} "
      f"(popularity {ranking['popularity_ndcg_at_20']:.4f}), seconds {answer['seconds']}")
