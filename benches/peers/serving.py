"""What the serving peers share: titles, answers as `/v1` gives them, and a server on a free port."""

import csv
import datetime
import socket

import uvicorn


def titles(path):
    """Title and categories by item id."""
    with open(path, encoding="utf-8", newline="") as file:
        return {int(row["movieId"]): (row["title"], row["genres"].split("|")) for row in csv.DictReader(file)}


def answer(user, pairs, catalogue):
    """The answer of `/v1` for (item, score) pairs, best first."""
    items = []
    for rank, (item, score) in enumerate(pairs, 1):
        title, categories = catalogue.get(item, ("", []))
        items.append(
            {
                "item_id": item,
                "title": title,
                "categories": categories,
                "predicted_rating": None,
                "score": score,
                "rank": rank,
            }
        )
    return {
        "user_id": user,
        "items": items,
        "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "model_version": "peer",
        "source": "model",
    }


def serve(app):
    """Serves on a free port, and prints where."""

    @app.get("/v1/health")
    async def health():
        return {"status": "healthy", "model_loaded": True, "model_version": "peer"}

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Who reads the address may come before the server is up.
    listener.listen()
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
