//! The neighbours of consecutive items, as they are stored.

/// For each item of a shard, the most similar items: global rows and similarities, best first. Or, of [EASE](crate::ease), the
/// items that say most of it: global rows and weights, the largest by size first, of which some are below 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    indptr: Vec<u64>,
    rows: Vec<u32>,
    similarities: Vec<f32>,
}

/// Neighbour lists that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadNeighbours(&'static str);

impl Default for Neighbours {
    fn default() -> Self {
        Self { indptr: vec![0], rows: Vec::new(), similarities: Vec::new() }
    }
}

impl Neighbours {
    /// Adds the list of the next item, best first.
    pub fn push(&mut self, list: &[(f32, u32)]) {
        self.rows.extend(list.iter().map(|entry| entry.1));
        self.similarities.extend(list.iter().map(|entry| entry.0));
        self.indptr.push(self.rows.len() as u64);
    }

    /// From what was stored, checked in full.
    ///
    /// # Errors
    /// When the offsets do not span the lists, a row is not one of `items`, or a similarity is 0 or not
    /// finite.
    pub fn from_parts(
        indptr: Vec<u64>,
        rows: Vec<u32>,
        similarities: Vec<f32>,
        items: u32,
    ) -> Result<Self, BadNeighbours> {
        let spans = indptr.first() == Some(&0) && indptr.last() == Some(&(rows.len() as u64));
        if !spans || !indptr.is_sorted() {
            return Err(BadNeighbours("the offsets do not span the neighbours"));
        }
        if similarities.len() != rows.len() {
            return Err(BadNeighbours("there is not one similarity per neighbour"));
        }
        if rows.iter().any(|&row| row >= items) {
            return Err(BadNeighbours("a neighbour is no item of the data set"));
        }
        if similarities.iter().any(|&similarity| similarity == 0.0 || !similarity.is_finite()) {
            return Err(BadNeighbours("a similarity is 0 or not finite"));
        }
        Ok(Self { indptr, rows, similarities })
    }

    /// How many items have a list, empty ones counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and similarities of one item's neighbours, best first.
    ///
    /// # Panics
    /// When there is no such item.
    #[must_use]
    pub fn of(&self, item: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[item] as usize..self.indptr[item + 1] as usize;
        (&self.rows[range.clone()], &self.similarities[range])
    }

    /// Items + 1 offsets, rows and similarities, as they are stored.
    #[must_use]
    pub fn parts(&self) -> (&[u64], &[u32], &[f32]) {
        (&self.indptr, &self.rows, &self.similarities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses_what_cannot_be() {
        let mut lists = Neighbours::default();
        lists.push(&[(0.9, 4), (0.5, 1)]);
        lists.push(&[]);
        lists.push(&[(0.1, 0)]);
        assert_eq!(lists.of(0), (&[4, 1][..], &[0.9, 0.5][..]));
        assert_eq!((lists.len(), lists.of(1).0.len()), (3, 0));
        let (indptr, rows, similarities) = lists.parts();
        let read = |indptr: &[u64], rows: &[u32], similarities: &[f32]| {
            Neighbours::from_parts(indptr.to_vec(), rows.to_vec(), similarities.to_vec(), 5)
        };
        assert_eq!(read(indptr, rows, similarities), Ok(lists.clone()));
        assert!(read(indptr, rows, &[-0.9, 0.5, -0.1]).is_ok());
        for bad in [
            read(&[0, 2], rows, similarities),
            read(&[0, 3, 2, 3], rows, similarities),
            read(indptr, &[5, 1, 0], similarities),
            read(indptr, rows, &similarities[1..]),
            read(indptr, rows, &[0.9, f32::NAN, 0.1]),
            read(indptr, rows, &[0.9, -0.0, 0.1]),
            read(indptr, rows, &[0.9, f32::NEG_INFINITY, 0.1]),
        ] {
            assert!(bad.is_err());
        }
    }
}
