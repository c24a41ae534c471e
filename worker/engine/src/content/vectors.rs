//! The vectors of a shard's items, as they are stored and compared: sparse features, and dense genomes of
//! those items that have one.

/// The vector of one item: its sparse features and its genome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vector {
    /// Features of the sparse blocks, ascending, with their values.
    pub features: Vec<(u32, f32)>,
    /// The genome block; empty when the item has none.
    pub genome: Vec<f32>,
}

/// What a shard's vectors consist of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VectorParts {
    /// Items + 1 offsets into the next two.
    pub indptr: Vec<u64>,
    /// Feature numbers, ascending within an item.
    pub features: Vec<u32>,
    /// The weight of each feature in `features`.
    pub values: Vec<f32>,
    /// Rows (within the shard, ascending) of the items with a genome.
    pub genome_rows: Vec<u32>,
    /// The genomes of `genome_rows`, row-major.
    pub genomes: Vec<f32>,
}

/// The vectors of a shard's items.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemVectors {
    parts: VectorParts,
    /// How many features there are in all.
    features: usize,
    genome_width: usize,
}

/// Vectors that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadVectors(&'static str);

impl ItemVectors {
    /// No item yet, of vectors with so many sparse features and genome tags.
    #[must_use]
    pub fn new(features: usize, genome_width: usize) -> Self {
        let parts = VectorParts { indptr: vec![0], ..VectorParts::default() };
        Self { parts, features, genome_width }
    }

    /// Adds the next item.
    ///
    /// # Panics
    /// When its genome has another width.
    pub fn push(&mut self, vector: &Vector) {
        let parts = &mut self.parts;
        if !vector.genome.is_empty() {
            assert_eq!(vector.genome.len(), self.genome_width, "genomes of one vocabulary are as wide");
            // A side's rows are counted in a u32.
            parts.genome_rows.push((parts.indptr.len() - 1) as u32);
            parts.genomes.extend_from_slice(&vector.genome);
        }
        parts.features.extend(vector.features.iter().map(|feature| feature.0));
        parts.values.extend(vector.features.iter().map(|feature| feature.1));
        parts.indptr.push(parts.features.len() as u64);
    }

    /// From what was stored, checked in full.
    ///
    /// # Errors
    /// When the parts do not fit together, or a value is not finite.
    pub fn from_parts(parts: VectorParts, features: usize, genome_width: usize) -> Result<Self, BadVectors> {
        let indptr = &parts.indptr;
        let spans = indptr.first() == Some(&0) && indptr.last() == Some(&(parts.features.len() as u64));
        if !spans || !indptr.is_sorted() {
            return Err(BadVectors("the offsets do not span the features"));
        }
        let ascends = |pair: &[u64]| {
            let of_item = &parts.features[pair[0] as usize..pair[1] as usize];
            of_item.is_sorted_by(|a, b| a < b)
                && of_item.last().is_none_or(|last| (*last as usize) < features)
        };
        if !indptr.windows(2).all(ascends) {
            return Err(BadVectors("the features of an item do not ascend within the vocabulary"));
        }
        if parts.values.len() != parts.features.len() {
            return Err(BadVectors("there is not one value per feature"));
        }
        let rows = &parts.genome_rows;
        let rows_fit = rows.is_sorted_by(|a, b| a < b)
            && rows.last().is_none_or(|last| (*last as usize) < indptr.len() - 1);
        if !rows_fit || rows.len().checked_mul(genome_width) != Some(parts.genomes.len()) {
            return Err(BadVectors("the genomes are not those of ascending items"));
        }
        if parts.values.iter().chain(&parts.genomes).any(|value| !value.is_finite()) {
            return Err(BadVectors("a value is not finite"));
        }
        Ok(Self { parts, features, genome_width })
    }

    /// How many items have a vector.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.indptr.len() - 1
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sparse features there are in all.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.features
    }

    /// Genome tags there are.
    #[must_use]
    pub fn genome_width(&self) -> usize {
        self.genome_width
    }

    /// Features and values of an item's sparse blocks.
    ///
    /// # Panics
    /// When there is no such item.
    #[must_use]
    pub fn sparse(&self, item: usize) -> (&[u32], &[f32]) {
        let range = self.parts.indptr[item] as usize..self.parts.indptr[item + 1] as usize;
        (&self.parts.features[range.clone()], &self.parts.values[range])
    }

    /// An item's genome block; empty when it has none.
    #[must_use]
    pub fn genome(&self, item: usize) -> &[f32] {
        match self.parts.genome_rows.binary_search(&(item as u32)) {
            Ok(at) => &self.parts.genomes[at * self.genome_width..][..self.genome_width],
            Err(_) => &[],
        }
    }

    /// The squared length of an item's vector: 1 when it has every block.
    ///
    /// # Panics
    /// When there is no such item.
    #[must_use]
    pub fn square(&self, item: usize) -> f64 {
        let values = self.sparse(item).1.iter().chain(self.genome(item));
        values.map(|&value| f64::from(value) * f64::from(value)).sum()
    }

    /// Whether anything is known of an item.
    #[must_use]
    pub fn is_known(&self, item: usize) -> bool {
        !self.sparse(item).0.is_empty() || !self.genome(item).is_empty()
    }

    /// The arrays that a version's file stores.
    #[must_use]
    pub fn parts(&self) -> &VectorParts {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses_what_cannot_be() {
        let mut vectors = ItemVectors::new(4, 2);
        vectors.push(&Vector { features: vec![(0, 0.5), (3, 0.25)], genome: vec![] });
        vectors.push(&Vector::default());
        vectors.push(&Vector { features: vec![(1, 1.0)], genome: vec![0.5, -0.5] });
        assert_eq!(vectors.sparse(0), (&[0, 3][..], &[0.5, 0.25][..]));
        assert_eq!((vectors.genome(2), vectors.genome(0)), (&[0.5, -0.5][..], &[][..]));
        assert_eq!([0, 1, 2].map(|item| vectors.is_known(item)), [true, false, true]);
        let parts = vectors.parts().clone();
        assert_eq!(ItemVectors::from_parts(parts.clone(), 4, 2), Ok(vectors));
        let changed = |change: fn(&mut VectorParts)| {
            let mut parts = parts.clone();
            change(&mut parts);
            ItemVectors::from_parts(parts, 4, 2)
        };
        assert!(changed(|parts| parts.indptr[1] = 9).is_err());
        assert!(changed(|parts| parts.features[1] = 0).is_err());
        assert!(changed(|parts| parts.features[1] = 4).is_err());
        assert!(changed(|parts| parts.values[0] = f32::NAN).is_err());
        assert!(changed(|parts| parts.values.truncate(1)).is_err());
        assert!(changed(|parts| parts.genome_rows[0] = 3).is_err());
        assert!(changed(|parts| parts.genomes.truncate(1)).is_err());
    }
}
