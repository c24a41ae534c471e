//! A model's rows where a data set has them: by shard, in the order of its ids.

use shoal_common::ids::EntityId;
use shoal_format::id_column::IdColumn;

use super::SparkRows;

/// Rows that the data set does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StrangeIds {
    pub(super) count: usize,
    /// The lowest of them.
    pub(super) first: i64,
}

/// One side of a model, by shard.
#[derive(Debug)]
pub(super) struct PlacedRows {
    ids: Vec<IdColumn>,
    /// Per shard a row for each id, zeros where the model has none.
    factors: Vec<Vec<f32>>,
    /// Per shard and id 1 where the model has the row, else 0: how many ratings it was trained on is not known.
    known: Vec<Vec<u32>>,
}

impl PlacedRows {
    /// Finds each row's place among `ids`, which are those of every shard.
    pub(super) fn new(ids: Vec<IdColumn>, rows: &SparkRows, rank: usize) -> Result<Self, StrangeIds> {
        let mut factors: Vec<Vec<f32>> = ids.iter().map(|ids| vec![0.0; ids.len() * rank]).collect();
        let mut known: Vec<Vec<u32>> = ids.iter().map(|ids| vec![0; ids.len()]).collect();
        let mut strange: Option<StrangeIds> = None;
        for (&id, values) in rows.ids.iter().zip(rows.factors.chunks_exact(rank)) {
            let entity = EntityId::Integer(id);
            let shard = entity.shard(ids.len() as u32) as usize;
            if let Some(row) = ids[shard].find(&entity) {
                factors[shard][row * rank..(row + 1) * rank].copy_from_slice(values);
                known[shard][row] = 1;
            } else {
                // Ids ascend, so the first is the lowest.
                strange.get_or_insert(StrangeIds { count: 0, first: id }).count += 1;
            }
        }
        strange.map_or(Ok(Self { ids, factors, known }), Err)
    }

    /// Ids, factors and which rows are known, shard by shard.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&IdColumn, &[f32], &[u32])> {
        let values = self.factors.iter().zip(&self.known);
        self.ids.iter().zip(values).map(|(ids, (factors, known))| (ids, &factors[..], &known[..]))
    }
}

/// Ascending ids by the shard that each belongs to.
pub(super) fn shards_of(ids: &[i64], shard_count: u32) -> Vec<IdColumn> {
    let mut shards = vec![Vec::new(); shard_count as usize];
    for &id in ids {
        shards[EntityId::Integer(id).shard(shard_count) as usize].push(id);
    }
    shards.into_iter().map(IdColumn::Integer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ids: &[i64]) -> SparkRows {
        SparkRows { ids: ids.to_vec(), factors: ids.iter().flat_map(|&id| [id as f32, 0.5]).collect() }
    }

    #[test]
    fn every_row_is_at_its_id_and_the_others_are_unknown() {
        let ids: Vec<i64> = (0..50).collect();
        let model: Vec<i64> = ids.iter().copied().filter(|id| id % 3 == 0).collect();
        let placed = PlacedRows::new(shards_of(&ids, 4), &rows(&model), 2).unwrap();
        let mut seen = 0;
        for (shard, (column, factors, known)) in placed.parts().enumerate() {
            for row in 0..column.len() {
                let EntityId::Integer(id) = column.get(row) else { panic!("the ids are numbers") };
                assert_eq!(EntityId::Integer(id).shard(4) as usize, shard);
                let expected = if id % 3 == 0 { ([id as f32, 0.5], 1) } else { ([0.0, 0.0], 0) };
                assert_eq!((&factors[row * 2..row * 2 + 2], known[row]), (&expected.0[..], expected.1));
                seen += 1;
            }
        }
        assert_eq!(seen, ids.len());
    }

    #[test]
    fn ids_that_the_data_set_lacks_are_counted() {
        let placed = PlacedRows::new(shards_of(&[1, 2, 5], 4), &rows(&[1, 3, 4, 5]), 2);
        assert_eq!(placed.unwrap_err(), StrangeIds { count: 2, first: 3 });
    }
}
