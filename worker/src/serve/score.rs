//! What items are scored by, with what the score takes: checked once when a request arrives.

use bytes::Bytes;
use shoal_proto::v1::{
    ByBlend, ByBlendLikeness, ByCosine, ByLatest, ByList, ByNeighbours, ByPopularity, ByRanking, ByRating,
    ByTrend, Objective, ScoreKind, TopItemsRequest, top_items_request::ScoredBy,
};

use super::{
    numbers::{elements, finite_vector},
    query_error::QueryError,
};

/// What items are scored by.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    /// The inner product with the ranking factors.
    Ranking {
        /// The user's ranking factors.
        vector: Vec<f32>,
    },
    /// The rating that is predicted for the user.
    Rating,
    /// The cosine with an item's factors.
    Cosine {
        /// The factors of the item compared with.
        vector: Vec<f32>,
        /// Which factors they are.
        objective: Objective,
    },
    /// The damped mean rating.
    Popularity {
        /// Only ratings of so many seconds count; 0 for all time.
        window_seconds: i64,
        /// Time of the data set's newest rating, seconds since 1970.
        newest_unix_s: i64,
    },
    /// Ratings that count half for each half-life of their age.
    Trend {
        /// The half-life in seconds, above 0.
        half_life_seconds: i64,
        /// Time of the data set's newest rating, seconds since 1970.
        newest_unix_s: i64,
    },
    /// The year of release.
    Latest,
    /// What the rated items add up to, in a version of neighbours.
    Neighbours,
    /// What the request says of each row; other rows are in no list.
    List {
        /// Global rows and their scores.
        listed: Vec<(u32, f32)>,
    },
    /// The weighted levels of a blend's sources.
    Blend {
        /// The user's ranking factors; may be empty.
        vector: Vec<f32>,
    },
    /// How alike items are to the versions of a blend.
    BlendLikeness {
        /// The factors of the item compared with; empty where the version of factors knows nothing of it.
        vector: Vec<f32>,
        /// Which factors they are.
        objective: Objective,
        /// Global rows, and what the other versions add.
        listed: Vec<(u32, f32)>,
    },
}

impl Score {
    /// Reads what a request says.
    ///
    /// # Errors
    /// When it says nothing, or what it says is torn or out of range.
    pub(super) fn from_request(request: &TopItemsRequest) -> Result<Self, QueryError> {
        Ok(match request.scored_by.clone().or_else(|| earlier(request)).ok_or(QueryError::NoScore)? {
            ScoredBy::ByRanking(ByRanking { query }) => {
                Self::Ranking { vector: finite_vector("query", &query)? }
            }
            ScoredBy::ByRating(ByRating {}) => Self::Rating,
            ScoredBy::ByCosine(by) => {
                Self::Cosine { objective: by.objective(), vector: finite_vector("query", &by.query)? }
            }
            ScoredBy::ByPopularity(ByPopularity { window_seconds, newest_unix_s }) => {
                at_least(0, window_seconds)?;
                Self::Popularity { window_seconds, newest_unix_s }
            }
            ScoredBy::ByTrend(ByTrend { half_life_seconds, newest_unix_s }) => {
                at_least(1, half_life_seconds)?;
                Self::Trend { half_life_seconds, newest_unix_s }
            }
            ScoredBy::ByLatest(ByLatest {}) => Self::Latest,
            ScoredBy::ByNeighbours(ByNeighbours {}) => Self::Neighbours,
            ScoredBy::ByList(ByList { rows, scores }) => Self::List { listed: listed(&rows, &scores)? },
            ScoredBy::ByBlend(ByBlend { query }) => Self::Blend { vector: finite_vector("query", &query)? },
            ScoredBy::ByBlendLikeness(by) => Self::BlendLikeness {
                objective: by.objective(),
                vector: finite_vector("query", &by.query)?,
                listed: listed(&by.rows, &by.scores)?,
            },
        })
    }

    /// The factors that items are compared with; empty where it has none.
    #[must_use]
    pub fn vector(&self) -> &[f32] {
        match self {
            Self::Ranking { vector }
            | Self::Cosine { vector, .. }
            | Self::Blend { vector }
            | Self::BlendLikeness { vector, .. } => vector,
            Self::Rating
            | Self::Popularity { .. }
            | Self::Trend { .. }
            | Self::Latest
            | Self::Neighbours
            | Self::List { .. } => &[],
        }
    }

    /// Global rows and what the request says of them; none where it says nothing of single rows.
    #[must_use]
    pub fn listed(&self) -> &[(u32, f32)] {
        if let Self::List { listed } | Self::BlendLikeness { listed, .. } = self { listed } else { &[] }
    }
}

fn at_least(least: i64, seconds: i64) -> Result<(), QueryError> {
    if seconds < least { Err(QueryError::Window(seconds)) } else { Ok(()) }
}

fn listed(rows: &Bytes, scores: &Bytes) -> Result<Vec<(u32, f32)>, QueryError> {
    let rows: Vec<u32> = elements("listed_rows", rows)?;
    let scores = finite_vector("listed_scores", scores)?;
    if rows.len() != scores.len() {
        return Err(QueryError::ListedRows);
    }
    Ok(rows.into_iter().zip(scores).collect())
}

/// What a router of an earlier build says: the kind of score, and what it takes in fields of the request.
fn earlier(request: &TopItemsRequest) -> Option<ScoredBy> {
    let TopItemsRequest { window_seconds, newest_unix_s, query_objective: objective, .. } = *request;
    let (query, rows, scores) =
        (request.query.clone(), request.listed_rows.clone(), request.listed_scores.clone());
    Some(match request.score() {
        ScoreKind::Ranking => ScoredBy::ByRanking(ByRanking { query }),
        ScoreKind::Rating => ScoredBy::ByRating(ByRating {}),
        ScoreKind::Cosine => ScoredBy::ByCosine(ByCosine { query, objective }),
        ScoreKind::Popularity => ScoredBy::ByPopularity(ByPopularity { window_seconds, newest_unix_s }),
        ScoreKind::Trending => {
            ScoredBy::ByTrend(ByTrend { half_life_seconds: window_seconds, newest_unix_s })
        }
        ScoreKind::Latest => ScoredBy::ByLatest(ByLatest {}),
        ScoreKind::Neighbours => ScoredBy::ByNeighbours(ByNeighbours {}),
        ScoreKind::Listed => ScoredBy::ByList(ByList { rows, scores }),
        ScoreKind::Blend => ScoredBy::ByBlend(ByBlend { query }),
        ScoreKind::BlendLikeness => {
            ScoredBy::ByBlendLikeness(ByBlendLikeness { query, objective, rows, scores })
        }
        ScoreKind::Unspecified => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::numbers::copy, *};

    /// Every kind as routers of earlier builds said it and as those of this one do.
    fn both_forms() -> Vec<(TopItemsRequest, ScoredBy)> {
        let (query, rows, scores) = (copy(&[1.0_f32, 2.0]), copy(&[3_u32, 9]), copy(&[0.5_f32, -1.0]));
        let objective = Objective::Rating.into();
        let (seconds, newest_unix_s) = (60, 1_000);
        let earlier = |kind: ScoreKind| TopItemsRequest {
            score: kind.into(),
            query: query.clone(),
            query_objective: objective,
            window_seconds: seconds,
            newest_unix_s,
            listed_rows: rows.clone(),
            listed_scores: scores.clone(),
            ..TopItemsRequest::default()
        };
        let forms = [
            (ScoreKind::Ranking, ScoredBy::ByRanking(ByRanking { query: query.clone() })),
            (ScoreKind::Rating, ScoredBy::ByRating(ByRating {})),
            (ScoreKind::Cosine, ScoredBy::ByCosine(ByCosine { query: query.clone(), objective })),
            (
                ScoreKind::Popularity,
                ScoredBy::ByPopularity(ByPopularity { window_seconds: seconds, newest_unix_s }),
            ),
            (ScoreKind::Trending, ScoredBy::ByTrend(ByTrend { half_life_seconds: seconds, newest_unix_s })),
            (ScoreKind::Latest, ScoredBy::ByLatest(ByLatest {})),
            (ScoreKind::Neighbours, ScoredBy::ByNeighbours(ByNeighbours {})),
            (ScoreKind::Listed, ScoredBy::ByList(ByList { rows: rows.clone(), scores: scores.clone() })),
            (ScoreKind::Blend, ScoredBy::ByBlend(ByBlend { query: query.clone() })),
            (
                ScoreKind::BlendLikeness,
                ScoredBy::ByBlendLikeness(ByBlendLikeness {
                    query: query.clone(),
                    objective,
                    rows: rows.clone(),
                    scores: scores.clone(),
                }),
            ),
        ];
        forms.into_iter().map(|(kind, by)| (earlier(kind), by)).collect()
    }

    #[test]
    fn routers_of_earlier_builds_are_understood() {
        let mut kinds = std::collections::HashSet::new();
        for (earlier, by) in both_forms() {
            let now = TopItemsRequest { scored_by: Some(by), ..TopItemsRequest::default() };
            let score = Score::from_request(&now).unwrap();
            assert_eq!(Score::from_request(&earlier), Ok(score.clone()));
            // What says it both ways is of this build, and its other fields are not read.
            let both = TopItemsRequest { score: 99, query: copy(&[f32::NAN]), ..now };
            assert_eq!(Score::from_request(&both), Ok(score.clone()));
            kinds.insert(std::mem::discriminant(&score));
        }
        assert_eq!(kinds.len(), 10);
        assert_eq!(Score::from_request(&TopItemsRequest::default()), Err(QueryError::NoScore));
    }

    #[test]
    fn what_is_torn_or_out_of_range_is_refused() {
        let refused = |by: ScoredBy| {
            Score::from_request(&TopItemsRequest { scored_by: Some(by), ..TopItemsRequest::default() })
                .unwrap_err()
        };
        let (nan, torn) = (copy(&[f32::NAN]), Bytes::from_static(&[0; 5]));
        assert_eq!(refused(ScoredBy::ByRanking(ByRanking { query: torn })), QueryError::Torn("query"));
        let query = nan.clone();
        assert_eq!(refused(ScoredBy::ByBlend(ByBlend { query })), QueryError::NotFinite("query"));
        let one_score = ByList { rows: copy(&[1_u32, 2]), scores: copy(&[1.0_f32]) };
        assert_eq!(refused(ScoredBy::ByList(one_score)), QueryError::ListedRows);
        let not_finite = ByList { rows: copy(&[1_u32]), scores: nan };
        assert_eq!(refused(ScoredBy::ByList(not_finite)), QueryError::NotFinite("listed_scores"));
        let window = ByPopularity { window_seconds: -1, newest_unix_s: 0 };
        assert_eq!(refused(ScoredBy::ByPopularity(window)), QueryError::Window(-1));
        let no_half_life = ByTrend { half_life_seconds: 0, newest_unix_s: 0 };
        assert_eq!(refused(ScoredBy::ByTrend(no_half_life)), QueryError::Window(0));
    }
}
