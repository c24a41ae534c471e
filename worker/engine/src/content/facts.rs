//! What is known of one item, and how people's tags become terms.

/// Characters of a tag beyond which it is a sentence rather than a term.
const TAG_CHARACTERS_MAX: usize = 48;

/// What is known of one item, before it is made a vector.
#[derive(Debug, Clone, Copy, Default)]
pub struct ItemFacts<'a> {
    /// Names of genres, each once.
    pub genres: &'a [String],
    /// Terms from [`clean_tag`], each once, with how many users gave it.
    pub tags: &'a [(String, u32)],
    /// Year of release; `None` where the catalogue has none.
    pub year: Option<i32>,
    /// The item's row of the tag genome; `None` for an item outside of it.
    pub genome: Option<GenomeFacts<'a>>,
}

/// How much the tags of the genome apply to an item.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenomeFacts<'a> {
    /// Numbers of tags, ascending; one that is not there has relevance 0.
    pub tags: &'a [u32],
    /// One per tag, 0 to 1.
    pub relevance: &'a [f32],
}

/// A user's tag as a term: lower case, letters and digits with single spaces between words. `None` when
/// nothing is left, or when it is too long to be a term.
#[must_use]
pub fn clean_tag(tag: &str) -> Option<String> {
    let mut term = String::with_capacity(tag.len());
    // An apostrophe joins what it stands between: "schindler's" is one word.
    for character in tag.chars().filter(|character| !matches!(character, '\'' | '’')) {
        if character.is_alphanumeric() {
            term.extend(character.to_lowercase());
        } else if !term.is_empty() && !term.ends_with(' ') {
            term.push(' ');
        }
    }
    term.truncate(term.trim_end().len());
    (!term.is_empty() && term.chars().count() <= TAG_CHARACTERS_MAX).then_some(term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_tag_become_one_term() {
        for tag in ["Sci-Fi", "  sci fi ", "SCI_FI!", "(sci-fi)"] {
            assert_eq!(clean_tag(tag).as_deref(), Some("sci fi"), "{tag}");
        }
        assert_eq!(clean_tag("Schindler’s  list").as_deref(), Some("schindlers list"));
        assert_eq!(clean_tag("Amélie ÉTÉ 2001").as_deref(), Some("amélie été 2001"));
        assert_eq!(clean_tag(" -!- "), None);
        assert_eq!(clean_tag(&"long ".repeat(20)), None);
    }
}
