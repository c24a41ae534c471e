//! The maths of alternating least squares.
