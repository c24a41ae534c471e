//! Which features there are and what each is worth, and the vector of an item.

use std::collections::BTreeMap;

use super::{Census, GenomeFacts, ItemFacts, Vector, census::decade};

/// What each block counts for; 0 leaves it out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockWeights {
    /// Weight of the genres.
    pub genres: f32,
    /// Weight of the tag genome.
    pub genome: f32,
    /// Weight of the users' tags.
    pub tags: f32,
    /// Weight of the decade of release.
    pub decade: f32,
}

/// How vectors are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What each block counts for.
    pub weights: BlockWeights,
    /// Tags on fewer items are passed over: they tell nothing of others.
    pub tag_items_min: u64,
    /// The tags on the most items that are kept.
    pub tags_max: usize,
}

/// The features of the sparse blocks, numbered from 0: genres, then tags, then decades.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Of those blocks that some item has, 1 together.
    weights: BlockWeights,
    genres: Terms,
    tags: Terms,
    /// Feature of each decade.
    decades: BTreeMap<i32, u32>,
    /// Numbers of genome tags, ascending.
    genome_tags: Vec<u32>,
    /// Mean relevance of each.
    genome_means: Vec<f32>,
}

/// Feature and idf of each term.
#[derive(Debug, Clone, Default, PartialEq)]
struct Terms(BTreeMap<String, (u32, f32)>);

impl Terms {
    fn new<'a>(counts: impl Iterator<Item = (&'a String, &'a u64)>, items: u64, first: u32) -> Self {
        let idf = |with: u64| (((1 + items) as f64 / (1 + with) as f64).ln() + 1.0) as f32;
        let numbered = counts.zip(first..);
        Self(numbered.map(|((term, &with), feature)| (term.clone(), (feature, idf(with)))).collect())
    }
}

impl Vocabulary {
    /// From the counts over the whole catalogue. Inverse document frequency is ln((1 + items) / (1 + items
    /// with the term)) + 1; of more than [`Settings::tags_max`] tags those on the most items stay, ties in
    /// alphabetical order.
    #[must_use]
    pub fn new(census: &Census, settings: &Settings) -> Self {
        let genres = Terms::new(census.genres.iter(), census.items, 0);
        let mut tags: Vec<(&String, &u64)> =
            census.tags.iter().filter(|(_, items)| **items >= settings.tag_items_min).collect();
        tags.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        tags.truncate(settings.tags_max);
        let first_tag = genres.0.len() as u32;
        let tags = Terms::new(tags.into_iter(), census.items, first_tag);
        let first_decade = first_tag + tags.0.len() as u32;
        let decades = census.decades.keys().copied().zip(first_decade..).collect();
        let (genome_tags, genome_means): (Vec<u32>, Vec<f32>) = census.genome.means().unzip();
        let there = |any: bool, weight: f32| if any { weight } else { 0.0 };
        let mut weights = BlockWeights {
            genres: there(!genres.0.is_empty(), settings.weights.genres),
            genome: there(!genome_means.is_empty(), settings.weights.genome),
            tags: there(!tags.0.is_empty(), settings.weights.tags),
            decade: there(!census.decades.is_empty(), settings.weights.decade),
        };
        let all = weights.genres + weights.genome + weights.tags + weights.decade;
        if all > 0.0 {
            for weight in [&mut weights.genres, &mut weights.genome, &mut weights.tags, &mut weights.decade] {
                *weight /= all;
            }
        }
        Self { weights, genres, tags, decades, genome_tags, genome_means }
    }

    /// How many features the sparse blocks have.
    #[must_use]
    pub fn features(&self) -> usize {
        self.genres.0.len() + self.tags.0.len() + self.decades.len()
    }

    /// How many genome tags there are.
    #[must_use]
    pub fn genome_width(&self) -> usize {
        self.genome_means.len()
    }

    /// The vector of an item: of length 1 when it has every block, shorter by those that it has not. A genre
    /// counts its idf, a tag that t users gave (1 + ln t) · idf, a decade 1, a genome tag its relevance less the
    /// mean over the catalogue, because what is common to all items tells none apart.
    #[must_use]
    pub fn vector(&self, item: &ItemFacts<'_>) -> Vector {
        let mut genres: Vec<(u32, f32)> =
            item.genres.iter().filter_map(|genre| self.genres.0.get(genre).copied()).collect();
        let tag = |(tag, users): &(String, u32)| {
            let (feature, idf) = self.tags.0.get(tag)?;
            Some((*feature, (1.0 + f64::from(*users).ln()) as f32 * idf))
        };
        let mut tags: Vec<(u32, f32)> = item.tags.iter().filter_map(tag).collect();
        let feature = item.year.and_then(|year| self.decades.get(&decade(year)));
        let mut decades: Vec<(u32, f32)> = feature.map(|feature| (*feature, 1.0)).into_iter().collect();
        let mut genome = self.centred_genome(item.genome);

        let of_terms =
            |terms: &mut [(u32, f32)], weight| scale(terms.iter_mut().map(|term| &mut term.1), weight);
        of_terms(&mut genres, self.weights.genres);
        of_terms(&mut tags, self.weights.tags);
        of_terms(&mut decades, self.weights.decade);
        scale(genome.iter_mut(), self.weights.genome);
        let mut features = [genres, tags, decades].concat();
        features.retain(|feature| feature.1 != 0.0);
        features.sort_unstable_by_key(|feature| feature.0);
        if genome.iter().all(|value| *value == 0.0) {
            genome.clear();
        }
        Vector { features, genome }
    }

    /// Relevances less their means; nothing when there is no genome, or when it is the mean and what is left is
    /// rounding.
    fn centred_genome(&self, genome: Option<GenomeFacts<'_>>) -> Vec<f32> {
        let Some(genome) = genome else { return Vec::new() };
        let mut relevance = vec![0.0; self.genome_tags.len()];
        for (tag, value) in genome.tags.iter().zip(genome.relevance) {
            if let Ok(place) = self.genome_tags.binary_search(tag) {
                relevance[place] = *value;
            }
        }
        let centred: Vec<f32> =
            relevance.iter().zip(&self.genome_means).map(|(value, mean)| value - mean).collect();
        if square(&centred) <= ROUNDING_SHARE * square(&self.genome_means) { Vec::new() } else { centred }
    }
}

/// Of the squared length of a genome, what rounding can leave of it when the mean is taken away.
const ROUNDING_SHARE: f64 = 1e-10;

fn square(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

/// Brings a block's values to the squared length `weight`; a block of zeros stays one.
fn scale<'a>(values: impl ExactSizeIterator<Item = &'a mut f32>, weight: f32) {
    let values: Vec<&mut f32> = values.collect();
    let square: f64 = values.iter().map(|value| f64::from(**value) * f64::from(**value)).sum();
    let factor = if square > 0.0 { (f64::from(weight) / square).sqrt() } else { 0.0 };
    for value in values {
        *value = (f64::from(*value) * factor) as f32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GENOME_TAGS: [u32; 5] = [2, 3, 8, 9, 40];
    const GENRES: [&str; 4] = ["Action", "Comedy", "Drama", "War"];

    #[derive(Debug, Clone)]
    struct Owned {
        genres: Vec<String>,
        tags: Vec<(String, u32)>,
        year: Option<i32>,
        genome: Option<Vec<f32>>,
    }

    impl Owned {
        fn facts(&self) -> ItemFacts<'_> {
            ItemFacts {
                genres: &self.genres,
                tags: &self.tags,
                year: self.year,
                genome: self
                    .genome
                    .as_deref()
                    .map(|relevance| GenomeFacts { tags: &GENOME_TAGS[..relevance.len()], relevance }),
            }
        }
    }

    fn items() -> impl Strategy<Value = Vec<Owned>> {
        let item = (
            prop::collection::btree_set(0_usize..4, 0..4),
            prop::collection::btree_map("[a-e]", 1_u32..20, 0..4),
            prop::option::of(1930_i32..2020),
            prop::option::of(prop::collection::vec(0.0_f32..1.0, 5)),
        );
        let owned = item.prop_map(|(genres, tags, year, genome)| Owned {
            genres: genres.into_iter().map(|genre| GENRES[genre].to_owned()).collect(),
            tags: tags.into_iter().collect(),
            year,
            genome,
        });
        prop::collection::vec(owned, 1..20)
    }

    fn settings() -> Settings {
        let weights = BlockWeights { genres: 1.0, genome: 2.0, tags: 1.5, decade: 0.25 };
        Settings { weights, tag_items_min: 2, tags_max: 3 }
    }

    fn census(items: &[Owned]) -> Census {
        let mut census = Census::default();
        items.iter().for_each(|item| census.add(&item.facts()));
        census
    }

    /// Cosine of two blocks given as maps, in f64; `None` when either is zero.
    fn cosine(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> Option<f64> {
        let norm = |block: &BTreeMap<String, f64>| block.values().map(|v| v * v).sum::<f64>().sqrt();
        let product: f64 = a.iter().filter_map(|(term, x)| Some(x * b.get(term)?)).sum();
        let norms = norm(a) * norm(b);
        (norms > 0.0).then(|| product / norms)
    }

    /// The four blocks of an item by the book.
    fn blocks(item: &Owned, items: &[Owned]) -> [BTreeMap<String, f64>; 4] {
        let n = items.len() as f64;
        let with_genre = |genre: &String| items.iter().filter(|other| other.genres.contains(genre)).count();
        let with_tag =
            |tag: &String| items.iter().filter(|other| other.tags.iter().any(|t| t.0 == *tag)).count();
        let idf = |with: usize| ((1.0 + n) / (1.0 + with as f64)).ln() + 1.0;
        let mut kept: Vec<(usize, String)> =
            ["a", "b", "c", "d", "e"].map(|tag| (with_tag(&tag.to_owned()), tag.to_owned())).to_vec();
        kept.retain(|tag| tag.0 >= 2);
        kept.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        kept.truncate(3);
        let genomes: Vec<&Vec<f32>> = items.iter().filter_map(|other| other.genome.as_ref()).collect();
        let mean = |at: usize| {
            genomes.iter().map(|genome| f64::from(genome[at])).sum::<f64>() / genomes.len() as f64
        };
        let genome = item.genome.iter().flatten().enumerate();
        [
            item.genres.iter().map(|genre| (genre.clone(), idf(with_genre(genre)))).collect(),
            genome.map(|(at, &value)| (at.to_string(), f64::from(value) - mean(at))).collect(),
            item.tags
                .iter()
                .filter(|tag| kept.iter().any(|kept| kept.1 == tag.0))
                .map(|(tag, users)| (tag.clone(), (1.0 + f64::from(*users).ln()) * idf(with_tag(tag))))
                .collect(),
            item.year.iter().map(|year| ((year / 10).to_string(), 1.0)).collect(),
        ]
    }

    fn dot(a: &Vector, b: &Vector) -> f64 {
        let sparse = a.features.iter().filter_map(|x| {
            let y = b.features.iter().find(|y| y.0 == x.0)?;
            Some(f64::from(x.1) * f64::from(y.1))
        });
        let dense = a.genome.iter().zip(&b.genome).map(|(x, y)| f64::from(*x) * f64::from(*y));
        sparse.sum::<f64>() + dense.sum::<f64>()
    }

    proptest! {
        #[test]
        fn cosines_are_weighted_by_block(items in items()) {
            let vocabulary = Vocabulary::new(&census(&items), &settings());
            let vectors: Vec<Vector> = items.iter().map(|item| vocabulary.vector(&item.facts())).collect();
            // A genome that is the mean is told from rounding by its size.
            let has = |block: &BTreeMap<String, f64>| block.values().map(|v| v * v).sum::<f64>() > 1e-9;
            let all: Vec<[BTreeMap<String, f64>; 4]> = items.iter().map(|item| blocks(item, &items)).collect();
            let mut weights = [1.0, 2.0, 1.5, 0.25];
            // Blocks that nobody has do not count. A genome does even if all of them are alike.
            for (at, weight) in weights.iter_mut().enumerate() {
                let genome = at == 1 && items.iter().any(|item| item.genome.is_some());
                if !genome && !all.iter().any(|blocks| has(&blocks[at])) {
                    *weight = 0.0;
                }
            }
            let whole: f64 = weights.iter().sum();
            for (own, x) in all.iter().zip(&vectors) {
                for (other, y) in all.iter().zip(&vectors) {
                    let blocks = weights.iter().zip(own.iter().zip(other));
                    let exact: f64 = blocks
                        .filter(|(_, (a, b))| has(a) && has(b))
                        .filter_map(|(weight, (a, b))| Some(weight / whole * cosine(a, b)?))
                        .sum();
                    prop_assert!((dot(x, y) - exact).abs() < 1e-3, "{} for {exact}", dot(x, y));
                }
            }
        }

        #[test]
        fn it_does_not_matter_who_counts_what(items in items(), cut in 0_usize..20) {
            let (left, right) = items.split_at(cut.min(items.len()));
            let mut merged = census(right);
            merged.merge(&census(left));
            prop_assert_eq!(&merged, &census(&items));
            prop_assert_eq!(Vocabulary::new(&merged, &settings()), Vocabulary::new(&census(&items), &settings()));
        }
    }

    #[test]
    fn a_genome_that_is_the_mean_tells_nothing() {
        // Rounding leaves a little of these, which is no direction to be compared by.
        let genome = Some(vec![0.001_234_567, 0.000_777_777, 0.1, 0.964_3, 0.3]);
        let only = Owned { genres: vec![], tags: vec![], year: Some(1990), genome };
        let vocabulary = Vocabulary::new(&census(std::slice::from_ref(&only)), &settings());
        assert_eq!(
            vocabulary.vector(&only.facts()),
            Vector { features: vec![(0, (0.25_f32 / 2.25).sqrt())], genome: vec![] }
        );
    }

    #[test]
    fn a_genome_tag_that_an_item_lacks_is_irrelevant_to_it() {
        let of = |genome: &[f32]| Owned {
            genres: vec![],
            tags: vec![],
            year: None,
            genome: Some(genome.to_vec()),
        };
        let (short, padded, other) = (of(&[0.5]), of(&[0.5, 0.0]), of(&[0.1, 0.9]));
        let vocabulary = Vocabulary::new(&census(&[short.clone(), padded.clone(), other]), &settings());
        assert_eq!(vocabulary.genome_width(), 2);
        assert_eq!(vocabulary.vector(&short.facts()), vocabulary.vector(&padded.facts()));
        let unheard_of = GenomeFacts { tags: &[7], relevance: &[1.0] };
        let nothing = GenomeFacts::default();
        let vector = |genome| vocabulary.vector(&ItemFacts { genome: Some(genome), ..ItemFacts::default() });
        assert_eq!(vector(unheard_of), vector(nothing));
        assert_eq!(vocabulary.vector(&ItemFacts::default()), Vector::default());
    }
}
