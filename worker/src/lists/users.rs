//! The users that lists are asked for by name: a text file with an id in each line.

use shoal_common::{
    ids::{EntityId, IdKind},
    store::{Access, Store, StoreError},
};
use shoal_proto::v1;

use super::error::ListsError;
use crate::serve::UserShard;

/// Bytes of a users file: some 30 million ids, all of which a worker holds.
const BYTES_MAX: u64 = 256 << 20;

/// What the first line may say instead of an id.
const HEADERS: [&str; 3] = ["user_id", "userId", "user"];

/// Reads the ids of a file, each once and in ascending order.
pub(super) async fn read(uri: &str, access: &Access, kind: v1::IdKind) -> Result<Vec<EntityId>, ListsError> {
    let refused = |reason: String| ListsError::Users { uri: uri.to_owned(), reason };
    let address = |source: StoreError| ListsError::Address { uri: uri.to_owned(), source: Box::new(source) };
    // Before it is looked for: nobody is told what lies elsewhere.
    access.read.check(uri).map_err(address)?;
    let (folder, file) = split(uri).ok_or_else(|| refused("it is no file".to_owned()))?;
    let store = Store::open_within(&folder, [uri], &access.options, &access.read).map_err(address)?;
    let listed = store.list_folder("").await.map_err(address)?;
    let bytes = listed.iter().find(|(name, _)| *name == file).map_or(0, |(_, bytes)| *bytes);
    if bytes > BYTES_MAX {
        return Err(refused(format!("it has {bytes} bytes; at most {BYTES_MAX} can be read, so split it")));
    }
    let bytes = store.get(&file).await.map_err(address)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|error| refused(format!("it is no UTF-8 text: {error}")))?;
    let kind = if kind == v1::IdKind::Integer { IdKind::Integer } else { IdKind::Text };
    parse(text, kind).map_err(refused)
}

/// The folder that a file lies in, and its name there.
fn split(uri: &str) -> Option<(String, String)> {
    let (folder, file) = uri.rsplit_once('/')?;
    // What lies in the root itself lies in "/".
    let root = if folder.is_empty() || folder.ends_with("//") { "/" } else { "" };
    (!file.is_empty()).then(|| (format!("{folder}{root}"), file.to_owned()))
}

fn parse(text: &str, kind: IdKind) -> Result<Vec<EntityId>, String> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let named = lines.map(|(at, line)| (at + 1, line.trim()));
    let ids = named.filter(|(line, name)| !(name.is_empty() || *line == 1 && HEADERS.contains(name)));
    let parsed = ids.map(|(line, name)| {
        // Not what the line says: it may be any file's.
        EntityId::parse(name, kind).map_err(|_| {
            format!("line {line} is not a whole number, as this data set's ids are; give one id in each line")
        })
    });
    let mut ids: Vec<EntityId> = parsed.collect::<Result<_, _>>()?;
    if ids.is_empty() {
        return Err("it names nobody; give one id in each line".to_owned());
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The rows of those who are of the shard, ascending, and how many ids of the shard the data set does not have.
pub(super) fn rows(named: &[EntityId], users: &UserShard, shard: u32, shard_count: u32) -> (Vec<usize>, u64) {
    let own = named.iter().filter(|id| id.shard(shard_count) == shard);
    let (mut rows, mut unknown) = (Vec::new(), 0);
    for id in own {
        match users.row(id) {
            Some(row) => rows.push(row),
            None => unknown += 1,
        }
    }
    (rows, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_one_a_line_in_any_order() {
        let ids = parse("\u{feff}userId\r\n7\r\n\r\n 3 \n7\n", IdKind::Integer).unwrap();
        assert_eq!(ids, [EntityId::Integer(3), EntityId::Integer(7)]);
        let ids = parse("b\n007\na", IdKind::Text).unwrap();
        assert_eq!(ids, ["007", "a", "b"].map(|id| EntityId::Text(id.into())));
    }

    #[test]
    fn a_file_lies_in_its_folder() {
        for (uri, folder) in [
            ("/users.txt", "/"),
            ("/a/b/users.txt", "/a/b"),
            ("file:///users.txt", "file:///"),
            ("s3://bucket/users.txt", "s3://bucket"),
        ] {
            assert_eq!(split(uri), Some((folder.to_owned(), "users.txt".to_owned())), "{uri}");
        }
        assert_eq!((split("/a/"), split("users.txt")), (None, None));
    }

    #[test]
    fn what_is_no_id_is_named_with_its_line() {
        let error = parse("1\ntwo\n", IdKind::Integer).unwrap_err();
        assert!(error.contains("line 2 is not a whole number") && !error.contains("two"), "{error}");
        assert!(parse("user_id\n\n", IdKind::Integer).unwrap_err().contains("nobody"));
    }
}
