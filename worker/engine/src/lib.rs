//! The maths of Shoal's models: slices in, values out.
//!
//! Each model is a folder: [`als`] (explicit and implicit), [`item_cf`], [`content`], [`ease`], and [`hybrid`], which blends
//! the others; [`popularity`] is the list of whoever is unknown. [`preference`] says how much a rating counts as a
//! liking, [`score`] finds the best items of a shard, and [`evaluate`] measures lists.
//!
//! Nothing here waits, logs, or knows a file or a socket: the crate's dependencies have none of that. Work is spread
//! over the threads of the rayon pool that the caller is in. Results do not depend on the number of threads: each
//! row is solved alone, and sums run in a stated order.
//!
//! One half-step of the explicit objective, of two users who rated three items:
//!
//! ```
//! use shoal_engine::als::{self, Fit, HalfStep, Kernel, RatingMatrix, Solver, explicit};
//!
//! let settings = explicit::Settings {
//!     rank: 2,
//!     regularization: 0.01,
//!     scaling: explicit::Scaling::Ratings,
//!     biases: false,
//!     rating_mean: 0.0,
//! };
//! // Items in rows of two factors, row-major.
//! let items = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
//! // (user, item, rating)
//! let ratings = RatingMatrix::new(2, vec![(0, 0, 4.0), (0, 1, 2.0), (1, 2, 5.0)]);
//! let fit = Fit::Explicit { settings: &settings, fixed: &items };
//! let mut users = [0.0; 4];
//! HalfStep::new(Kernel::detect(), fit, Solver::Cholesky, ratings.rows()).solve(0..2, &mut users)?;
//! // The first user's factors are close to their two ratings, because the items' factors are unit vectors.
//! assert!((users[0] - 4.0).abs() < 0.1 && (users[1] - 2.0).abs() < 0.1);
//! # Ok::<(), als::RowError>(())
//! ```
//!
//! The examples `fit` (ALS) and `ease` train on a CSV file and measure the lists.

pub mod als;
pub mod content;
pub mod ease;
pub mod evaluate;
pub mod hybrid;
pub mod item_cf;
pub mod large_pages;
pub mod popularity;
pub mod preference;
pub mod score;
