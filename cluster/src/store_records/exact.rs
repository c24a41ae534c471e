//! Numbers of JSON to the last bit.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

/// A number as the standard library reads it, correctly rounded: what a trained version predicts from is to be the number
/// that was written. serde_json's own reading may be off by one in the last place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Exact(pub(super) f64);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let number = text.get().parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Self).ok_or_else(|| D::Error::custom(format!("{} is not a finite number", text.get())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let written = serde_json::to_string(&number).unwrap();
            let read: Exact = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read.0.to_bits(), bits);
        }
    }
}
