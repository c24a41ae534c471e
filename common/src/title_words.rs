//! The words of a title, as they are searched for: letters and digits, without regard to letter case and accents.

use crate::letter_case::fold_accents;

/// The words of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TitleWords {
    /// In their order. An apostrophe inside a word is left out: `Ocean's Eleven` is `oceans`, `eleven`.
    pub words: Vec<String>,
    /// What stands before, between and after the apostrophes of words: `ocean`, `s`.
    pub parts: Vec<String>,
}

impl TitleWords {
    /// Splits a text. Whatever is no letter, digit or apostrophe ends a word.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut found = Self::default();
        let (mut word, mut parts) = (String::new(), vec![String::new()]);
        for letter in fold_accents(text).chars().chain([' ']) {
            if is_apostrophe(letter) {
                parts.push(String::new());
            } else if letter.is_alphanumeric() {
                word.push(letter);
                if let Some(part) = parts.last_mut() {
                    part.push(letter);
                }
            } else {
                parts.retain(|part| !part.is_empty());
                if parts.len() > 1 {
                    found.parts.append(&mut parts);
                }
                parts = vec![String::new()];
                found.words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
        }
        found
    }
}

fn is_apostrophe(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2019}' | '\u{2bc}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> (String, String) {
        let TitleWords { words, parts } = TitleWords::of(text);
        (words.join(" "), parts.join(" "))
    }

    #[test]
    fn words_are_letters_and_digits_and_keep_no_apostrophe() {
        for (text, words, parts) in [
            ("Toy Story (1995)", "toy story 1995", ""),
            ("Schindler's List", "schindlers list", "schindler s"),
            ("L\u{2019}Été d'Amélie", "lete damelie", "l ete d amelie"),
            ("'Burbs, The", "burbs the", ""),
            ("Dogs' Life --- 2", "dogs life 2", ""),
            ("WALL·E", "wall e", ""),
            ("千と千尋の神隠し", "千と千尋の神隠し", ""),
            (" ,.' ", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(text), (words.to_owned(), parts.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn letter_case_and_what_stands_between_words_do_not_matter(
            words in prop::collection::vec("[a-zé0-9]{1,5}", 0..5),
            between in "[ ,.:!()-]{1,3}",
        ) {
            let plain = TitleWords::of(&words.join(" "));
            prop_assert_eq!(plain.words.len(), words.len());
            prop_assert_eq!(&TitleWords::of(&words.join(&between).to_uppercase()), &plain);
            // Words are their own words.
            prop_assert_eq!(TitleWords::of(&plain.words.join(" ")), plain);
        }
    }
}
