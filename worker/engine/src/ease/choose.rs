//! Which items are in the model.

/// The rows that are in the model, ascending: those with likes, and of them the `most` that have the most likes, ties by row.
///
/// An item that nobody likes has no weights: leaving it out changes nothing but what it costs.
#[must_use]
pub fn most_liked(like_counts: &[u32], most: Option<usize>) -> Vec<u32> {
    // Rows of a side are counted in a u32.
    let mut rows: Vec<u32> =
        (0..).zip(like_counts).filter(|(_, count)| **count > 0).map(|(row, _)| row).collect();
    if let Some(most) = most.filter(|most| *most < rows.len()) {
        rows.sort_unstable_by_key(|&row| (std::cmp::Reverse(like_counts[row as usize]), row));
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}
