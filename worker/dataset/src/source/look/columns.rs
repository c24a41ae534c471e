//! Which column of a file is what: by the names or numbers that were given, else by usual names.

use shoal_proto::v1::{ColumnLook, DatasetSource, FileContent};

use crate::source::error::SourceError;

/// Names of columns in an error.
const NAMES_SHOWN: usize = 12;

/// Characters of a name in an error.
const NAME_SHOWN: usize = 32;

/// What a column can be. Usual names are in the order in which they are preferred, and are compared without letter case,
/// underscores, hyphens and blanks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) name: &'static str,
    /// The flag that names the column; empty where none does.
    flag: &'static str,
    usual: &'static [&'static str],
    /// Whether a file may be without it.
    optional: bool,
    wanted: fn(&DatasetSource) -> &str,
}

const USER: Role = Role {
    name: "user",
    flag: "--user-col",
    usual: &["userid", "user"],
    optional: false,
    wanted: |source| &source.user_column,
};
const ITEM: Role = Role {
    name: "item",
    flag: "--item-col",
    usual: &["movieid", "itemid", "movie", "item"],
    optional: false,
    wanted: |source| &source.item_column,
};
const RATING: Role = Role {
    name: "rating",
    flag: "--rating-col",
    usual: &["rating", "score", "stars"],
    optional: true,
    wanted: |source| &source.rating_column,
};
const TIME: Role = Role {
    name: "time",
    flag: "--time-col",
    usual: &["timestamp", "time", "datetime", "date"],
    optional: true,
    wanted: |source| &source.time_column,
};
const TITLE: Role = Role {
    name: "title",
    flag: "--title-col",
    usual: &["title", "name"],
    optional: false,
    wanted: |source| &source.title_column,
};
const GENRES: Role = Role {
    name: "genres",
    flag: "--genres-col",
    usual: &["genres", "genre"],
    optional: true,
    wanted: |source| &source.genres_column,
};
const YEAR: Role = Role {
    name: "year",
    flag: "--year-col",
    usual: &["year", "releaseyear"],
    optional: true,
    wanted: |source| &source.year_column,
};
const TAG: Role = Role { name: "tag", flag: "", usual: &["tag"], optional: false, wanted: |_| "" };
const TAG_NUMBER: Role =
    Role { name: "tag id", flag: "", usual: &["tagid"], optional: false, wanted: |_| "" };
const RELEVANCE: Role =
    Role { name: "relevance", flag: "", usual: &["relevance"], optional: false, wanted: |_| "" };

/// The columns of a content, in the order of `SourceFile.columns`.
pub(super) fn roles(content: FileContent) -> &'static [Role] {
    match content {
        FileContent::Unspecified | FileContent::Ratings => &[USER, ITEM, RATING, TIME],
        FileContent::Items => &[ITEM, TITLE, GENRES, YEAR],
        FileContent::Tags => &[USER, ITEM, TAG, TIME],
        FileContent::GenomeScores => &[ITEM, TAG_NUMBER, RELEVANCE],
        FileContent::GenomeTags => &[TAG_NUMBER, TAG],
    }
}

impl Role {
    /// What was given for it on behalf of this content: flags of ratings are for the ratings file, and names of ids for
    /// the others where they have such a column.
    fn wanted(self, source: &DatasetSource, content: FileContent) -> &str {
        let of_ratings = [RATING.name, TIME.name].contains(&self.name);
        if of_ratings && content != FileContent::Ratings { "" } else { (self.wanted)(source) }
    }
}

/// A name as usual ones are compared.
fn plain(name: &str) -> String {
    name.chars().filter(|&c| !matches!(c, '_' | ' ' | '-')).flat_map(char::to_lowercase).collect()
}

/// The columns of a file.
#[derive(Debug)]
pub(in crate::source) struct Columns<'a> {
    /// By position; empty for those that cannot be named, and for all of a file without a header.
    names: Vec<String>,
    has_names: bool,
    /// Whether an error may say the names: the file is a table, and no other whose first line would be given away.
    may_be_told: bool,
    file: &'a str,
}

/// Which column is what.
#[derive(Debug, Default, PartialEq)]
pub(in crate::source) struct Found {
    /// Positions of the columns, in the order of `SourceFile.columns`.
    pub(in crate::source) positions: Vec<i32>,
    pub(in crate::source) looks: Vec<ColumnLook>,
}

impl<'a> Columns<'a> {
    pub(in crate::source) fn new(names: Vec<String>, file: &'a str) -> Self {
        Self { names, has_names: true, may_be_told: true, file }
    }

    /// The same columns, whose names errors say only if they may be told.
    pub(super) fn told_if(self, may_be_told: bool) -> Self {
        Self { may_be_told, ..self }
    }

    /// Of a file without a header.
    pub(super) fn numbered(count: usize, file: &'a str) -> Self {
        Self { names: vec![String::new(); count], has_names: false, may_be_told: true, file }
    }

    /// The names, in the file's order.
    pub(in crate::source) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Whether they have names.
    pub(super) fn has_names(&self) -> bool {
        self.has_names
    }

    /// The position of the time column that was given.
    pub(super) fn find_time(&self, source: &DatasetSource) -> Result<i32, SourceError> {
        let found = self.named(&source.time_column).and_then(|at| i32::try_from(at).ok());
        found.ok_or_else(|| SourceError::NoColumn {
            file: self.file.to_owned(),
            column: source.time_column.clone(),
            flag: TIME.flag,
            columns: self.listed(),
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// Whether some name is a usual one of this content, or one that was given.
    pub(super) fn knows_any(&self, source: &DatasetSource, content: FileContent) -> bool {
        roles(content).iter().any(|role| {
            let wanted = role.wanted(source, content);
            self.names.iter().any(|name| {
                role.usual.contains(&plain(name).as_str()) || (!wanted.is_empty() && name == wanted)
            })
        })
    }

    /// Which column is what in a file of this content.
    ///
    /// # Errors
    /// When a column is missing, or could be one of several.
    pub(in crate::source) fn find(
        &self,
        source: &DatasetSource,
        content: FileContent,
    ) -> Result<Found, SourceError> {
        let roles = roles(content);
        let is_off = |role: &Role| {
            content == FileContent::Ratings
                && ((role.name == TIME.name && source.no_time)
                    || (role.name == RATING.name && source.no_rating))
        };
        let mut chosen: Vec<Option<usize>> = Vec::new();
        for role in roles {
            let wanted = role.wanted(source, content);
            let own = content == FileContent::Ratings || ![USER.name, ITEM.name].contains(&role.name);
            let given = match wanted {
                "" => None,
                _ if is_off(role) => None,
                // A number is of the ratings file.
                wanted if own => self.named(wanted),
                wanted => self.names.iter().position(|name| name == wanted),
            };
            if given.is_none() && !wanted.is_empty() && own && !is_off(role) {
                return Err(SourceError::NoColumn {
                    file: self.file.to_owned(),
                    column: wanted.to_owned(),
                    flag: role.flag,
                    columns: self.listed(),
                });
            }
            chosen.push(given);
        }
        let mut found = Found::default();
        let mut missing = Vec::new();
        for (at, role) in roles.iter().enumerate() {
            let mut candidates = Vec::new();
            if chosen[at].is_none() && !is_off(role) {
                let all = self.usual(role, &chosen);
                chosen[at] = self.preferred(role, &all)?;
                candidates = all.into_iter().filter(|&other| Some(other) != chosen[at]).collect();
            }
            let Some(position) = chosen[at] else {
                missing.extend((!role.optional).then_some(role));
                found.positions.push(-1);
                continue;
            };
            found.positions.push(i32::try_from(position).unwrap_or(-1));
            found.looks.push(ColumnLook {
                role: role.name.to_owned(),
                name: self.names[position].clone(),
                number: position as u32 + 1,
                candidates: candidates.into_iter().map(|other| self.names[other].clone()).collect(),
            });
        }
        self.check(&missing).map(|()| found)
    }

    fn check(&self, missing: &[&Role]) -> Result<(), SourceError> {
        let Some(first) = missing.first() else { return Ok(()) };
        let flags: Vec<&str> = missing.iter().map(|role| role.flag).filter(|flag| !flag.is_empty()).collect();
        if flags.is_empty() {
            return Err(SourceError::NoColumn {
                file: self.file.to_owned(),
                column: first.usual[0].to_owned(),
                flag: "",
                columns: self.listed(),
            });
        }
        let value = if self.has_names { "COLUMN" } else { "NUMBER" };
        Err(SourceError::NotUnderstood {
            file: self.file.to_owned(),
            missing: missing.iter().map(|role| role.name).collect::<Vec<_>>().join(" and as "),
            flags: flags.iter().map(|flag| format!("{flag} {value}")).collect::<Vec<_>>().join(" "),
            columns: self.listed(),
        })
    }

    /// The columns whose names are usual for a role, the preferred first, without those that are taken.
    fn usual(&self, role: &Role, taken: &[Option<usize>]) -> Vec<usize> {
        let named = |usual: &&str| {
            let usual = (*usual).to_owned();
            let names = self.names.iter().enumerate();
            names
                .filter(move |(at, name)| plain(name) == usual && !taken.contains(&Some(*at)))
                .map(|(at, _)| at)
        };
        role.usual.iter().flat_map(named).collect()
    }

    /// The first of a role's columns, unless another is called the same but for letter case and underscores.
    fn preferred(&self, role: &Role, all: &[usize]) -> Result<Option<usize>, SourceError> {
        let Some(&first) = all.first() else { return Ok(None) };
        let same: Vec<&str> = all
            .iter()
            .filter(|&&at| plain(&self.names[at]) == plain(&self.names[first]))
            .map(|&at| self.names[at].as_str())
            .collect();
        if same.len() == 1 {
            return Ok(Some(first));
        }
        Err(SourceError::Ambiguous {
            file: self.file.to_owned(),
            role: role.name,
            candidates: same.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" and "),
            remedy: match role.flag {
                "" => "rename one of them".to_owned(),
                flag => format!("name one of them with {flag} (a column's number will do)"),
            },
        })
    }

    /// The column of this name, or else of this number from 1.
    fn named(&self, wanted: &str) -> Option<usize> {
        let exact = self.names.iter().position(|name| self.has_names && name == wanted);
        let number = || wanted.parse::<usize>().ok().filter(|number| (1..=self.names.len()).contains(number));
        exact.or_else(|| number().map(|number| number - 1)).or_else(|| {
            let folded = wanted.to_lowercase();
            let mut alike = (0..self.names.len()).filter(|&at| self.names[at].to_lowercase() == folded);
            // One of several would be a guess.
            alike.next().filter(|_| self.has_names && alike.next().is_none())
        })
    }

    /// The names of columns that are nothing, as far as they can be read.
    pub(in crate::source) fn unused(&self, found: &Found) -> Vec<(usize, &str)> {
        let is_used = |at: usize| found.positions.contains(&i32::try_from(at).unwrap_or(-1));
        let names = self.names.iter().enumerate();
        names.filter(|(at, _)| !is_used(*at)).map(|(at, name)| (at, name.as_str())).collect()
    }

    /// The names for an error or a note, cut to a length that can be read.
    fn listed(&self) -> String {
        if !self.has_names {
            return format!("numbered 1 to {}", self.names.len());
        }
        if !self.may_be_told {
            return "not told, because the file is not plainly a table: names of three or more columns above rows with numbers"
                .to_owned();
        }
        listed(self.names.iter().map(String::as_str))
    }
}

/// Names, cut to a length that can be read.
pub(super) fn listed<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = names.len();
    let shown = names.take(NAMES_SHOWN).map(|name| {
        let cut: String = name.chars().take(NAME_SHOWN).collect();
        if cut.len() < name.len() { format!("{cut}…") } else { cut }
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if count > NAMES_SHOWN {
        text.push_str(&format!(" and {} more", count - NAMES_SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(header: &str, source: &DatasetSource) -> Result<Found, SourceError> {
        let names = header.split(',').map(str::to_owned).collect();
        Columns::new(names, "f.csv").find(source, FileContent::Ratings)
    }

    #[test]
    fn usual_names_are_found_and_named_ones_must_be_there() {
        let usual = DatasetSource::default();
        assert_eq!(find("timestamp,User_ID,movieId,rating", &usual).unwrap().positions, [1, 2, 3, 0]);
        let named = DatasetSource { rating_column: "stars".into(), ..DatasetSource::default() };
        let error = find("timestamp,User_ID,movieId,rating", &named).unwrap_err().to_string();
        assert!(error.contains("no column 'stars'") && error.contains("movieId"), "{error}");
        let cased = DatasetSource { rating_column: "ÉTOILES".into(), ..DatasetSource::default() };
        assert_eq!(find("user,item,étoiles", &cased).unwrap().positions, [0, 1, 2, -1]);
        let numbered = DatasetSource { item_column: "3".into(), user_column: "2".into(), ..usual };
        assert_eq!(find("rating,who,what", &numbered).unwrap().positions, [1, 2, 0, -1]);
    }

    #[test]
    fn of_several_usual_names_the_preferred_is_taken_and_the_others_are_told() {
        let header = "user,user_id,item,item_id,score,rating,date,timestamp";
        let found = find(header, &DatasetSource::default()).unwrap();
        assert_eq!(found.positions, [1, 3, 5, 7]);
        let others: Vec<&str> = found.looks.iter().map(|look| look.candidates[0].as_str()).collect();
        assert_eq!(others, ["user", "item", "score", "date"]);
    }

    #[test]
    fn one_of_two_equal_names_is_asked_for() {
        let error = find("userId,user_id,item,rating", &DatasetSource::default()).unwrap_err().to_string();
        assert!(error.contains("'userId' and 'user_id'") && error.contains("--user-col"), "{error}");
        let named = DatasetSource { user_column: "user_id".into(), ..DatasetSource::default() };
        assert_eq!(find("userId,user_id,item,rating", &named).unwrap().positions, [1, 2, 3, -1]);
    }

    #[test]
    fn what_is_not_understood_is_answered_with_flags_and_a_short_list() {
        let wide: Vec<String> = (0..3_000).map(|number| format!("item_number_{number}")).collect();
        let error = find(&format!("user,{}", wide.join(",")), &DatasetSource::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("--item-col COLUMN") && error.contains("and 2989 more"), "{error}");
        assert!(!error.contains("--user-col") && error.len() < 600, "{error}");
    }
}
