//! How much a data set has to learn a user's taste from.

use shoal_proto::v1::DatasetInfo;

/// Ratings per user below which there is little to learn from.
const FEW_RATINGS: f64 = 20.0;

/// Ratings per user below which hardly any two users have rated the same item.
const HARDLY_ANY_RATINGS: f64 = 3.0;

/// Ratings per user of a data set.
pub(super) struct Density {
    per_user: f64,
}

impl Density {
    pub(super) fn of(dataset: &DatasetInfo) -> Self {
        Self { per_user: dataset.ratings as f64 / dataset.users.max(1) as f64 }
    }

    /// Where there are few ratings: that there are, as the beginning of a sentence that goes on with a remedy.
    pub(super) fn few(&self) -> Option<String> {
        (self.per_user < FEW_RATINGS).then(|| {
            let per_user = self.per_user;
            format!("The data set has {per_user:.1} ratings per user, which is little to learn from; ")
        })
    }

    /// Advice for a model of who rated which item: that there is hardly anything to learn from, else the remedy where there are
    /// few ratings, else the one where there are many.
    pub(super) fn advice(&self, where_few: &str, where_many: &str) -> String {
        self.hardly_any()
            .or_else(|| self.few().map(|few| format!("{few}{where_few}")))
            .unwrap_or_else(|| where_many.to_owned())
    }

    /// Where a model of who rated which item has nothing to learn from: the sentence that says so.
    pub(super) fn hardly_any(&self) -> Option<String> {
        let few = self.few().filter(|_| self.per_user < HARDLY_ANY_RATINGS)?;
        Some(format!("{few}until there are more, the most rated items or content serve better."))
    }
}
