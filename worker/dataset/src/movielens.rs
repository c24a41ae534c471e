//! What is fixed in MovieLens' files, whether they are read or made.

/// The genres, in the order of the flags of `u.item`, where a flag for an unknown one stands before them.
pub(super) const GENRES: [&str; 18] = [
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];
