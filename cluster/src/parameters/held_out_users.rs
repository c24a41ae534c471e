//! How many users a split holds out entirely.

use std::str::FromStr;

use shoal_proto::v1::DatasetInfo;

/// Users held out where nobody says how many: as many as of MovieLens 20M in published figures (10,000 of 136,677), ...
const USERS_MAX: f64 = 10_000.0;

/// ... but no more than this share of the users, so that a small data set keeps enough to train on.
const SHARE_MAX: f64 = 0.1;

/// A number of users, about, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeldOutUsers {
    /// So many users, about.
    Number(u32),
    /// A share of the users, between 0 and 1.
    Share(f64),
}

impl FromStr for HeldOutUsers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse::<u32>()
            && number > 0
        {
            return Ok(Self::Number(number));
        }
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            _ => {
                Err("it must be a whole number of users from 1, or a share of them between 0 and 1"
                    .to_owned())
            }
        }
    }
}

/// Which share of a data set's users is held out.
///
/// # Errors
/// When the data set does not have more users than asked for, or so few that by the default or a share nobody is held out.
pub fn held_out_user_share(asked: Option<HeldOutUsers>, dataset: &DatasetInfo) -> Result<f64, String> {
    let users = (dataset.users as f64).max(1.0);
    match asked {
        None => at_least_one((USERS_MAX / users).min(SHARE_MAX), dataset),
        Some(HeldOutUsers::Share(share)) => at_least_one(share, dataset),
        Some(HeldOutUsers::Number(number)) if u64::from(number) < dataset.users => {
            Ok(f64::from(number) / users)
        }
        Some(HeldOutUsers::Number(number)) => Err(format!(
            "--held-out-users {number} leaves nobody to train on: data set '{}' has {} users; hold out fewer",
            dataset.name, dataset.users
        )),
    }
}

/// The share, where it is of one user or more.
fn at_least_one(share: f64, dataset: &DatasetInfo) -> Result<f64, String> {
    if share * dataset.users as f64 >= 1.0 {
        return Ok(share);
    }
    Err(format!(
        "--split strong would hold out {share} of the {} users of data set '{}', which is nobody to measure on; give \
         --held-out-users 1 or more",
        dataset.users, dataset.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_a_number_or_a_share_and_by_default_as_many_as_published_where_there_are_enough() {
        let of = |users, asked: Option<&str>| {
            let dataset = DatasetInfo { users, ..DatasetInfo::default() };
            held_out_user_share(asked.map(|asked| asked.parse().unwrap()), &dataset)
        };
        assert_eq!(of(610, None), Ok(0.1));
        assert_eq!(of(136_677, None), Ok(10_000.0 / 136_677.0));
        // A tenth of fewer than ten users is nobody.
        assert_eq!(of(10, None), Ok(0.1));
        for (users, asked) in [(9, None), (0, None), (99, Some("0.01"))] {
            let refused = of(users, asked).unwrap_err();
            assert!(refused.contains("--held-out-users 1 or more"), "{refused}");
        }
        assert_eq!(of(9, Some("1")), Ok(1.0 / 9.0));
        assert_eq!((of(610, Some("122")), of(610, Some("0.2"))), (Ok(0.2), Ok(0.2)));
        assert!(of(610, Some("610")).unwrap_err().contains("610 users"));
        for bad in ["0", "-3", "1.5", "0.0", "some", "", "NaN", "1.0"] {
            assert!(bad.parse::<HeldOutUsers>().is_err(), "{bad}");
        }
    }
}
