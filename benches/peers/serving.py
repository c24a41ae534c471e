"""What the serving peers share: titles, the contract's answers, and a server on a free port."""

import csv
import datetime
import socket

import uvicorn


def titles(path):
    """Title and genres by movie id."""
    with open(path, encoding="utf-8", newline="") as file:
        return {int(row["movieId"]): (row["title"], row["genres"].split("|")) for row in csv.DictReader(file)}


def answer(user, pairs, catalogue):
    """The contract's answer for (movie, score) pairs, best first."""
    movies = []
    for rank, (movie, score) in enumerate(pairs, 1):
        title, genres = catalogue.get(movie, ("", []))
        movies.append(
            {
                "movie_id": movie,
                "title": title,
                "genres": genres,
                "predicted_rating": None,
                "score": score,
                "rank": rank,
            }
        )
    return {
        "user_id": user,
        "recommendations": movies,
        "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "model_version": "peer",
        "source": "model",
    }


def serve(app):
    """Serves on a free port, and prints where."""

    @app.get("/recommendations/health")
    async def health():
        return {"status": "healthy", "model_loaded": True, "model_version": "peer"}

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Who reads the address may come before the server is up.
    listener.listen()
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
