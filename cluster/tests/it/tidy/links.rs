//! Every link of the documents leads somewhere: the file is there, and so is the heading.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use super::{files, none, read, root};

/// Lines of a document with their numbers. Lines of code blocks are left out: `[a](b)` is no link there, and `#` no heading.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(line, text)| {
        let fence = text.trim_start().starts_with("```");
        let shown = !in_code && !fence;
        in_code ^= fence;
        shown.then_some((line + 1, text))
    })
}

/// Code between backticks, blanked.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(at, piece)| if at % 2 == 0 { piece } else { "code" }).collect()
}

/// Where the links and pictures of a line lead: `](…)`, `src="…"` and `srcset="…"`.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')]
        .iter()
        .flat_map(|(before, after)| {
            line.split(before).skip(1).filter_map(|rest| Some(rest.split_once(*after)?.0.to_owned()))
        })
        .collect()
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|sign| match sign {
            ' ' => Some('-'),
            '-' | '_' => Some(sign),
            sign => sign.is_alphanumeric().then_some(sign),
        })
        .collect()
}

fn anchors(document: &Path) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let text = read(document);
    let headings = prose(&text).filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, heading)| {
            let anchor = anchor(heading);
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            // A heading that comes again is numbered.
            if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
        })
        .collect()
}

/// `a/b/../c` as `a/c`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
        plain
    })
}

/// Why a link of a document leads nowhere.
fn fault(document: &Path, target: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    let (file, fragment) = target.split_once('#').map_or((target, None), |(file, at)| (file, Some(at)));
    let file = match file {
        "" => document.to_owned(),
        file => plain(&document.parent().unwrap().join(file)),
    };
    if !root().join(&file).exists() {
        return Some(format!("there is no '{}'", file.display()));
    }
    let fragment = fragment?;
    (!anchors(&file).iter().any(|anchor| anchor == fragment))
        .then(|| format!("'{}' has no heading with the anchor '{fragment}'", file.display()))
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let (mut faults, mut links) = (Vec::new(), 0);
    for document in files(&[".md"]) {
        let text = read(&document);
        for (line, text) in prose(&text) {
            for target in targets(text) {
                links += 1;
                let fault = fault(&document, &target);
                faults.extend(
                    fault.map(|fault| format!("{}, line {line}: ({target}) {fault}", document.display())),
                );
            }
        }
    }
    none(&faults, "links that lead nowhere");
    assert!(links > 60, "the documents were read");
}

#[test]
fn links_and_anchors_are_read_as_they_are_shown() {
    assert_eq!(targets("see [a](b.md#c) and ![d](e.svg), not `[f](g)`"), ["b.md#c", "e.svg"]);
    assert_eq!(targets("<img src=\"a.svg\"> <source srcset=\"b.svg\">"), ["a.svg", "b.svg"]);
    assert_eq!(anchor("## Is a node well?"), "is-a-node-well");
    assert_eq!(anchor("## GET /v1/items/{item_id}"), "get-v1itemsitem_id");
    assert_eq!(anchor("# Guía: 1. Qué es `shoal`"), "guía-1-qué-es-shoal");
    assert_eq!(plain(Path::new("docs/operations/../es/a.md")), Path::new("docs/es/a.md"));
    let here = Path::new("docs/operations.md");
    assert!(fault(here, "operations/gone.md").is_some());
    assert!(fault(here, "operations/secure.md#gone").is_some());
    assert_eq!(fault(here, "operations/secure.md#tokens"), None);
}
