//! A look at a delimited text file.

use shoal_proto::v1::{
    ColumnLook, DatasetSource, DuplicateRule, FileContent, FileLook, IdKind, SourceFile, SourceFormat,
    ValueRules,
};

use super::{
    super::{SourceError, files::extension},
    columns::{Columns, Found, listed, roles},
    header::{Holds, by_position, has_header, holds, is_plainly_a_table},
    ids::{IdLook, look_at_ids},
    sample::{Delimiter, Sample},
    times::{TimeLook, example_format, look_at_times},
};
use crate::values::{NULL_WORDS, Values};

/// The begin of a text file.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) struct TextHead<'a> {
    /// The file's whole address, for errors and for its ending.
    pub(in crate::source) uri: &'a str,
    /// Its first bytes, after a byte-order mark.
    pub(in crate::source) text: &'a [u8],
    /// Bytes of the mark.
    pub(in crate::source) mark_bytes: u64,
    /// Whether that is all of it.
    pub(in crate::source) is_whole: bool,
    /// How people call its encoding.
    pub(in crate::source) encoding: &'a str,
}

/// How values are read, as far as it was said.
pub(in crate::source) fn value_rules(source: &DatasetSource) -> ValueRules {
    let null_words = match &source.null_words {
        Some(given) => given.words.clone(),
        None => NULL_WORDS.map(str::to_owned).into(),
    };
    ValueRules {
        decimal_comma: source.decimal_comma,
        null_words,
        changed_user_ids: source.user_id_kind() == IdKind::Integer,
        changed_item_ids: source.item_id_kind() == IdKind::Integer,
        ..ValueRules::default()
    }
}

/// A layout that is known by the file's name.
struct Layout {
    delimiter: Delimiter,
    format: SourceFormat,
    positions: &'static [i32],
    column_count: u32,
}

/// The layout of MovieLens 1M's `.dat` files and of 100K's `u.data` and `u.item`, when the file is of one and nothing
/// else was said.
fn layout(source: &DatasetSource, content: FileContent, head: &TextHead<'_>) -> Option<Layout> {
    let said = !source.user_column.is_empty()
        || !source.item_column.is_empty()
        || !source.delimiter.is_empty()
        || source.header != 0;
    if said && content == FileContent::Ratings {
        return None;
    }
    let first = head.text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match (extension(head.uri), content) {
        ("dat", FileContent::Items) if memchr::memmem::find(first, b"::").is_some() => Some(Layout {
            delimiter: Delimiter::DoubleColon,
            format: SourceFormat::DoubleColon,
            positions: &[0, 1, 2],
            // Titles may have colons.
            column_count: 0,
        }),
        ("dat", FileContent::Tags) if memchr::memmem::find(first, b"::").is_some() => Some(Layout {
            delimiter: Delimiter::DoubleColon,
            format: SourceFormat::DoubleColon,
            positions: &[0, 1, 2, 3],
            column_count: 0,
        }),
        ("item", FileContent::Items) => Some(Layout {
            delimiter: Delimiter::Byte(b'|'),
            format: SourceFormat::Pipe,
            positions: &[0, 1, 5],
            column_count: 0,
        }),
        _ => None,
    }
}

/// What was understood of a text file.
#[derive(Debug)]
pub(in crate::source) struct TextLook {
    pub(in crate::source) look: FileLook,
    /// Of users and items, where the file has such.
    pub(in crate::source) ids: [Option<IdLook>; 2],
    /// As the header has them.
    pub(in crate::source) names: Vec<String>,
}

/// Fills in what a text file's first bytes say, and answers what was understood.
///
/// # Errors
/// When its columns are not understood, or what was said of it cannot be.
pub(in crate::source) fn look_at_text(
    source: &DatasetSource,
    head: &TextHead<'_>,
    file: &mut SourceFile,
) -> Result<TextLook, SourceError> {
    let content = file.content();
    file.values = Some(value_rules(source));
    let values = Values::new(file);
    let mut look =
        FileLook { content: file.content, encoding: head.encoding.to_owned(), ..FileLook::default() };
    let layout = layout(source, content, head);
    let delimiter = match &layout {
        Some(layout) => Some(layout.delimiter),
        None if content == FileContent::Ratings && !source.delimiter.is_empty() => {
            let named = Delimiter::named(&source.delimiter);
            Some(named.ok_or_else(|| SourceError::Delimiter(source.delimiter.clone()))?)
        }
        None => None,
    };
    let sample = Sample::read(head.text, head.is_whole, delimiter);
    let Some(first) = sample.rows.first() else { return Err(SourceError::Empty(head.uri.to_owned())) };
    look.delimiter = sample.delimiter.name();
    file.delimiter = u32::from(sample.delimiter.byte());
    file.data_offset = head.mark_bytes;
    let found = if let Some(layout) = layout {
        file.set_format(layout.format);
        file.column_count = layout.column_count;
        Found { positions: layout.positions.to_vec(), looks: numbered(content, layout.positions) }
    } else {
        file.set_format(sample.delimiter.format());
        let names = Columns::new(first.fields.clone(), head.uri).told_if(is_plainly_a_table(&sample));
        look.header = has_header(source, content, &sample, &names, &values);
        file.column_count = u32::try_from(names.count()).unwrap_or(u32::MAX);
        if look.header {
            file.data_offset = head.mark_bytes + first.end as u64;
            file.header_lines = u32::try_from(first.lines).unwrap_or(u32::MAX);
            let found = names.find(source, content)?;
            check_rating(source, content, &found, &names, &sample, &values, head.uri)?;
            note_unused(&mut look, &names, &found);
            found
        } else {
            look.notes.push("the first row is data, so columns are taken by their place".to_owned());
            unnamed(source, &sample, &values, head.uri)?
        }
    };
    // Rows of the long files are read in many ranges, which begin at line ends.
    let is_long = matches!(content, FileContent::Ratings | FileContent::GenomeScores);
    file.multiline = file.format() == SourceFormat::Csv && (file.one_range || !is_long);
    file.columns = found.positions;
    look.format = file.format;
    look.columns = found.looks;
    if content == FileContent::Ratings && file.columns.get(2) == Some(&-1) {
        look.notes.push("no column is read as the rating: each row counts 1".to_owned());
    }
    look_at_columns(source, file, &mut look, &sample, &values)?;
    let kind = |role: &str| {
        let at = look.columns.iter().find(|column| column.role == role)?.number as usize - 1;
        Some(look_at_ids(sample.column(look.header, at), &values))
    };
    let ids = [kind("user"), kind("item")];
    let names = if look.header { first.fields.clone() } else { Vec::new() };
    Ok(TextLook { look, ids, names })
}

/// The looks of columns that have no names.
fn numbered(content: FileContent, positions: &[i32]) -> Vec<ColumnLook> {
    let looks = roles(content).iter().zip(positions).filter_map(|(role, &position)| {
        let number = u32::try_from(position).ok()? + 1;
        Some(ColumnLook { role: role.name.to_owned(), number, ..ColumnLook::default() })
    });
    looks.collect()
}

/// The columns of a file of ratings without a header: those that were given by number, else by their place.
fn unnamed(
    source: &DatasetSource,
    sample: &Sample,
    values: &Values,
    uri: &str,
) -> Result<Found, SourceError> {
    let count = sample.rows.first().map_or(0, |row| row.fields.len());
    let columns = Columns::numbered(count, uri);
    let content = FileContent::Ratings;
    if source.user_column.is_empty()
        && source.item_column.is_empty()
        && source.rating_column.is_empty()
        && let Some(mut positions) = by_position(sample, count, values)
    {
        if source.no_rating {
            positions[2] = -1;
        }
        if source.no_time {
            positions[3] = -1;
        }
        if !source.time_column.is_empty() {
            positions[3] = columns.find_time(source)?;
        }
        return Ok(Found { positions: positions.to_vec(), looks: numbered(content, &positions) });
    }
    let found = columns.find(source, content)?;
    check_rating(source, content, &found, &columns, sample, values, uri)?;
    Ok(found)
}

/// Refuses to count rows of a file that may have ratings under another name.
fn check_rating(
    source: &DatasetSource,
    content: FileContent,
    found: &Found,
    columns: &Columns<'_>,
    sample: &Sample,
    values: &Values,
    uri: &str,
) -> Result<(), SourceError> {
    let wanted = content == FileContent::Ratings
        && found.positions.get(2) == Some(&-1)
        && !source.no_rating
        && source.duplicates() != DuplicateRule::Count;
    if !wanted {
        return Ok(());
    }
    let header = columns.has_names();
    let unused = columns.unused(found);
    let numbers = unused.iter().filter(|(at, _)| holds(sample, header, *at, values) == Holds::Numbers);
    let candidates: Vec<String> =
        numbers.map(|(at, name)| if header { format!("'{name}'") } else { (at + 1).to_string() }).collect();
    if candidates.is_empty() {
        return Ok(());
    }
    Err(SourceError::NoRating {
        file: uri.to_owned(),
        candidates: listed(candidates.iter().map(String::as_str)),
    })
}

fn note_unused(look: &mut FileLook, columns: &Columns<'_>, found: &Found) {
    let unused = columns.unused(found);
    if !unused.is_empty() {
        look.notes.push(format!("not used: {}", listed(unused.iter().map(|(_, name)| *name))));
    }
}

/// Finds out how times and genres are written.
fn look_at_columns(
    source: &DatasetSource,
    file: &mut SourceFile,
    look: &mut FileLook,
    sample: &Sample,
    values: &Values,
) -> Result<(), SourceError> {
    let content = file.content();
    let position = |at: usize| file.columns.get(at).and_then(|&at| usize::try_from(at).ok());
    let (third, fourth) = (position(2), position(3));
    let rules = file.values.get_or_insert_default();
    if let (FileContent::Ratings | FileContent::Tags, Some(at)) = (content, fourth) {
        let usual = DatasetSource::default();
        let source = if content == FileContent::Ratings { source } else { &usual };
        let fields = sample.column(look.header, at).map(|(_, field)| field);
        match look_at_times(fields, source, values)? {
            TimeLook::Read(rule, text) => {
                rules.time = Some(rule);
                look.times = text;
            }
            TimeLook::Unreadable(field) => {
                let dropped = look.columns.iter().position(|column| column.role == "time");
                let name = dropped.map(|at| look.columns.remove(at).name).unwrap_or_default();
                look.notes.push(format!(
                    "column '{name}' is not read: '{field}' is neither a number nor a date that begins with its year; --time-format says how the times are written ({}), --no-time that no times are wanted",
                    example_format(&field)
                ));
                file.columns[3] = -1;
            }
        }
    }
    if let (FileContent::Items, SourceFormat::Csv, Some(at)) = (content, file.format(), third) {
        let rules = file.values.get_or_insert_default();
        let has =
            |separator: char| sample.column(look.header, at).any(|(_, field)| field.contains(separator));
        let others = [',', ';'].into_iter().find(|&separator| has(separator));
        if let Some(separator) = others.filter(|_| !has('|')) {
            rules.genre_separator = separator.to_string();
            look.notes.push(format!("genres are divided at '{separator}', as no field has a '|'"));
        }
    }
    Ok(())
}
