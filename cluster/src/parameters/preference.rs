//! What ratings are taken for where lists are to be of what people like: chosen by a flag, or guessed from the data set.

use shoal_proto::v1::{Confidence, DatasetInfo, Preference};

use super::{AlsArgs, ConfidenceForm, Defaults, Objective, two_digits};

/// Where the mean of the ratings is no further up their scale than this share, they are counts rather than marks: of counts
/// most are near the lowest, of marks near the highest. MovieLens' mean is at 0.67.
pub const COUNTS_MEAN_SHARE_MAX: f64 = 0.25;

/// What a rating means as preference: how much of a liking it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PreferenceForm {
    /// By height, unless the ratings look like counts (their mean is in the lowest quarter of their scale) or like a
    /// selection of likings (the lowest is more than half of the highest)
    Auto,
    /// From 0.1 for the lowest rating of the data set up to 1 for the highest
    Height,
    /// 1 for a rating above 0, else 0
    Positive,
    /// 1 for every rating
    Observed,
}

/// What the ratings of a data set look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Marks of liking. By their height a rating of one star is hardly a liking.
    Marks,
    /// All the same, as clicks are.
    Alike,
    /// High marks of which the low ones were left out before: the lowest is a liking too.
    Selected,
    /// Counts, of which the height says little: the lowest is a liking too, if it is above 0.
    Counts,
}

impl Look {
    fn of(dataset: &DatasetInfo) -> Self {
        let &DatasetInfo { rating_min: least, rating_max: greatest, rating_mean: mean, .. } = dataset;
        if greatest <= least {
            Self::Alike
        } else if least > greatest / 2.0 && least > 0.0 {
            Self::Selected
        } else if mean - least > COUNTS_MEAN_SHARE_MAX * (greatest - least) {
            Self::Marks
        } else {
            Self::Counts
        }
    }

    fn preference(self, least: f64) -> Preference {
        match self {
            Self::Marks => Preference::Height,
            Self::Alike | Self::Selected => Preference::Observed,
            Self::Counts if least > 0.0 => Preference::Observed,
            Self::Counts => Preference::Positive,
        }
    }
}

impl AlsArgs {
    /// The preference on the wire with the ends of its scale, which are zero where it has none.
    pub(crate) fn chosen_preference(&self, dataset: &DatasetInfo) -> (Preference, f64, f64) {
        let preference = match self.preference_form() {
            PreferenceForm::Observed => Preference::Observed,
            PreferenceForm::Positive => Preference::Positive,
            PreferenceForm::Height if dataset.rating_max > dataset.rating_min => Preference::Height,
            PreferenceForm::Height => Preference::Observed,
            PreferenceForm::Auto => Look::of(dataset).preference(dataset.rating_min),
        };
        match preference {
            Preference::Height => (preference, dataset.rating_min, dataset.rating_max),
            Preference::Unspecified | Preference::Observed | Preference::Positive => (preference, 0.0, 0.0),
        }
    }

    /// A preference that goes with another confidence goes with it, however that was chosen.
    fn preference_form(&self) -> PreferenceForm {
        let of_preset = Defaults::new(self.preset);
        self.preference.unwrap_or(match self.confidence {
            Some(ConfidenceForm::Spark | ConfidenceForm::Implicit) => PreferenceForm::Positive,
            Some(ConfidenceForm::Ials) if of_preset.confidence != Confidence::Ials => PreferenceForm::Auto,
            Some(ConfidenceForm::Ials) | None => of_preset.preference,
        })
    }

    /// What the ratings of a data set were taken for, for people; `None` where that was not for the program to say.
    #[must_use]
    pub fn guessed_preference(&self, dataset: &DatasetInfo) -> Option<String> {
        let &DatasetInfo { rating_min: least, rating_max: greatest, rating_mean: mean, .. } = dataset;
        if self.objective == Objective::Explicit || self.preference_form() != PreferenceForm::Auto {
            return None;
        }
        let look = Look::of(dataset);
        let reason = match look {
            Look::Alike => return None,
            Look::Marks => {
                return Some(format!(
                    "ALS goes by the height of ratings: {least} is a tenth of a liking, {greatest} a whole one \
                     (--preference observed takes all alike)."
                ));
            }
            Look::Selected => {
                format!(
                    "The lowest rating, {least}, is more than half of the highest, {greatest}, as after a selection"
                )
            }
            Look::Counts => format!(
                "The mean rating, {}, lies in the lowest quarter of {least} to {greatest}, as that of counts does",
                two_digits(mean)
            ),
        };
        let taken = match look.preference(least) {
            Preference::Positive => "ratings above 0 for likings, and the others for none",
            Preference::Unspecified | Preference::Observed | Preference::Height => {
                "every rating for a liking"
            }
        };
        Some(format!("{reason}: ALS takes {taken} (--preference height goes by their height)."))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Flags, parameters_for, small},
        *,
    };

    /// A data set of ratings with these ends and this mean.
    fn rated(rating_min: f64, rating_max: f64, rating_mean: f64) -> DatasetInfo {
        DatasetInfo { rating_min, rating_max, rating_mean, ..small() }
    }

    #[test]
    fn the_preference_follows_what_ratings_look_like() {
        let chosen = |dataset: DatasetInfo, flags: &[&str]| {
            let implicit = parameters_for(&dataset, flags).implicit.unwrap();
            (implicit.preference(), implicit.rating_least, implicit.rating_greatest)
        };
        let (observed, positive) = ((Preference::Observed, 0.0, 0.0), (Preference::Positive, 0.0, 0.0));
        assert_eq!(chosen(rated(0.5, 5.0, 3.5), &[]), (Preference::Height, 0.5, 5.0));
        assert_eq!(chosen(rated(-1.0, 1.0, -0.2), &[]), (Preference::Height, -1.0, 1.0));
        // Clicks, counts, and what was shown and hardly ever clicked.
        assert_eq!(chosen(rated(1.0, 1.0, 1.0), &[]), observed);
        assert_eq!(chosen(rated(1.0, 1.0, 1.0), &["--preference", "height"]), observed);
        assert_eq!(chosen(rated(1.0, 540.0, 5.3), &[]), observed);
        assert_eq!(chosen(rated(4.0, 5.0, 4.5), &[]), observed);
        assert_eq!(chosen(rated(1.0, 2.0, 1.5), &[]), (Preference::Height, 1.0, 2.0));
        assert_eq!(chosen(rated(-5.0, -1.0, -2.0), &[]), (Preference::Height, -5.0, -1.0));
        assert_eq!(chosen(rated(0.0, 1.0, 0.04), &[]), positive);
        assert_eq!(chosen(rated(0.5, 5.0, 3.5), &["--preference", "observed"]), observed);
        assert_eq!(chosen(rated(0.5, 5.0, 3.5), &["--confidence", "spark"]), positive);
        assert_eq!(chosen(rated(0.5, 5.0, 3.5), &["--preset", "ials", "--confidence", "ials"]), observed);
        let told = ["--preset", "spark", "--confidence", "ials"];
        assert_eq!(chosen(rated(0.5, 5.0, 3.5), &told), (Preference::Height, 0.5, 5.0));
    }

    #[test]
    fn what_ratings_were_taken_for_is_said() {
        let said = |dataset: DatasetInfo, flags: &[&str]| {
            let flags = <Flags as clap::Parser>::try_parse_from(["train"].iter().chain(flags)).unwrap();
            flags.als.guessed_preference(&dataset)
        };
        assert!(
            said(rated(0.5, 5.0, 3.5), &[]).unwrap().contains("0.5 is a tenth of a liking, 5 a whole one")
        );
        assert!(
            said(rated(1.0, 540.0, 5.3), &[])
                .unwrap()
                .starts_with("The mean rating, 5.3, lies in the lowest quarter of 1 to 540")
        );
        assert!(said(rated(4.0, 5.0, 4.5), &[]).unwrap().contains("ALS takes every rating for a liking"));
        assert!(said(rated(0.0, 1.0, 0.04), &[]).unwrap().contains("takes ratings above 0 for likings"));
        // Nothing was guessed.
        assert_eq!(said(rated(1.0, 1.0, 1.0), &[]), None);
        for flags in [["--preference", "height"], ["--preset", "spark"], ["--objective", "explicit"]] {
            assert_eq!(said(rated(0.5, 5.0, 3.5), &flags), None);
        }
    }
}
