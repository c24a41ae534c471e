//! Names compared without regard to letter case, by Unicode's rules.
//!
//! Two names are the same when their canonical caseless forms are (Unicode 16, section 3.13, D145): decomposed,
//! case-folded, decomposed again. `épouvante` is `Épouvante`, whether an accent is a letter's own or follows it;
//! `STRASSE` is `Straße`; `ς` is `σ`. The rules are of no language: `I` is `i`, and the Turkish `ı` and `İ` are letters
//! of their own. Nothing else is made alike: accents, widths and white space count.

use icu_normalizer::DecomposingNormalizerBorrowed;
use unicase::UniCase;

/// The form of a name in which two names are equal that differ in letter case only.
#[must_use]
pub fn fold_case(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let decomposer = const { DecomposingNormalizerBorrowed::new_nfd() };
    let folded = UniCase::unicode(decomposer.normalize(name)).to_folded_case();
    // A folded letter may be a composed one again.
    decomposer.normalize(&folded).into_owned()
}

/// The form of a text in which two texts are equal that differ in letter case or accents only: [`fold_case`] without the
/// combining marks of Latin, Greek and Cyrillic letters. `Amélie` is `amelie`; `ø` and `ł` are letters of their own.
#[must_use]
pub fn fold_accents(text: &str) -> String {
    let mut folded = fold_case(text);
    folded.retain(
        |letter| !matches!(letter, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'),
    );
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_differ_in_letter_case_are_the_same() {
        for (one, other) in [
            ("Film-Noir", "FILM-NOIR"),
            ("épouvante", "Épouvante"),
            ("e\u{301}pouvante", "\u{c9}POUVANTE"),
            ("Straße", "STRASSE"),
            ("ΜΥΘΟΣ", "μυθος"),
            ("Комедия", "КОМЕДИЯ"),
            ("\u{1fb3}", "\u{1fbc}"),
            ("İ", "i\u{307}"),
        ] {
            assert_eq!(fold_case(one), fold_case(other), "{one} {other}");
        }
    }

    #[test]
    fn other_names_stay_different() {
        for (one, other) in [
            ("épouvante", "epouvante"),
            ("ı", "i"),
            ("İ", "i"),
            ("ﬁ", "f"),
            ("Sci-Fi", "Sci Fi"),
            (" a", "a"),
            ("漫画", "动画"),
        ] {
            assert_ne!(fold_case(one), fold_case(other), "{one} {other}");
        }
    }

    #[test]
    fn accents_are_folded_where_they_are_asked_to_be() {
        for (text, folded) in [
            ("Amélie", "amelie"),
            ("AME\u{301}LIE", "amelie"),
            ("Ångström", "angstrom"),
            ("Ἀλέξανδρος", "αλεξανδροσ"),
            ("Ёлки", "елки"),
            ("Łódź", "łodz"),
            ("が", "か\u{3099}"),
        ] {
            assert_eq!(fold_accents(text), folded);
        }
    }

    proptest! {
        #[test]
        fn a_folded_name_is_its_own_form(name in "\\PC{0,12}") {
            let folded = fold_case(&name);
            prop_assert_eq!(fold_case(&folded), folded);
        }
    }
}
