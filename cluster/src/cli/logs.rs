//! `shoal logs`: what the nodes of the local cluster say.

use std::time::Duration;

use serde_json::json;

use super::{
    connection::DirArgs,
    failure::{Exit, refusal},
    signals::Signals,
};
use crate::{
    local::{ClusterFile, LogReader},
    output,
};

/// How often logs are looked at that are followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  shoal logs
  shoal logs worker-2 --follow
  shoal logs --lines 200 --dir ./my-cluster
  shoal logs --json    # one JSON object a line: node, time (null where the line has none) and line

Without a node the lines of all nodes come in the order of their times, each after its node's name. Nodes that run elsewhere log \
to their standard error, which their service manager keeps.";

/// Flags of `shoal logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Name of a node, such as worker-1; all of them by default
    node: Option<String>,
    /// Go on with what is added, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Lines to begin with, of each node
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 20)]
    lines: usize,
    /// Print one JSON object for each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    dir: DirArgs,
}

/// One node's log, as it is read.
struct Log {
    node: String,
    reader: LogReader,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let names = names(&args)?;
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let is_one = names.len() == 1;
    // False when whoever read the lines has gone away.
    let show = |node: &str, time: &str, line: &str| {
        if args.json {
            let time = Some(time).filter(|time| !time.is_empty());
            return output::print_json_line(&json!({ "node": node, "time": time, "line": line }));
        }
        let line = output::shown_line(line);
        output::print_to_reader(&if is_one { line.into_owned() } else { format!("{node:width$}  {line}") })
    };
    let mut logs = Vec::new();
    let mut first = Vec::new();
    for node in names {
        let path = args.dir.dir.join("logs").join(format!("{node}.log"));
        let (reader, lines) = LogReader::open(&path, args.lines)
            .map_err(|error| refusal(Exit::Failed, format!("cannot read '{}': {error}", path.display())))?;
        first.extend(lines.into_iter().map(|line| (time_of(&line), node.clone(), line)));
        logs.push(Log { node, reader });
    }
    // Stable: lines without a time stay behind the one that they belong to.
    carry_times(&mut first);
    first.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    for (_, node, line) in &first {
        if !show(node, &time_of(line), line)? {
            return Ok(Exit::Done);
        }
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    let mut signals = Signals::install()?;
    loop {
        tokio::select! {
            biased;
            // Leaving comes before another look.
            () = signals.received() => return Ok(Exit::Done),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for log in &mut logs {
            for line in log.reader.news()? {
                if !show(&log.node, &time_of(&line), &line)? {
                    return Ok(Exit::Done);
                }
            }
        }
    }
}

/// The nodes whose logs are wanted.
fn names(args: &Args) -> anyhow::Result<Vec<String>> {
    let file: ClusterFile = args.dir.cluster_file("--dir")?;
    let members = file.coordinators.iter().chain(&file.workers).map(|member| member.name.clone());
    let all: Vec<String> = members.chain(file.routers.iter().map(|router| router.name.clone())).collect();
    let Some(wanted) = &args.node else { return Ok(all) };
    if all.contains(wanted) {
        return Ok(vec![wanted.clone()]);
    }
    let message = format!("there is no node '{wanted}' in this cluster; its nodes are {}", all.join(", "));
    Err(refusal(Exit::NotFound, message))
}

/// The time that a line begins with, or that stands first in its JSON; empty without one.
fn time_of(line: &str) -> String {
    let text = line.strip_prefix("{\"timestamp\":\"").unwrap_or(line);
    let time: String =
        text.chars().take_while(|letter| letter.is_ascii_graphic() && *letter != '"').collect();
    let is_time =
        time.len() >= "2026-11-24T10:15:00Z".len() && time.as_bytes()[4] == b'-' && time.ends_with('Z');
    if is_time { time } else { String::new() }
}

/// Gives lines without a time that of the line before of the same node.
fn carry_times(lines: &mut [(String, String, String)]) {
    for at in 1..lines.len() {
        if lines[at].0.is_empty() && lines[at].1 == lines[at - 1].1 {
            lines[at].0 = lines[at - 1].0.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_time_that_they_begin_with_or_that_of_the_line_before() {
        assert_eq!(time_of("2026-11-24T10:15:00.123456Z  INFO x: y"), "2026-11-24T10:15:00.123456Z");
        assert_eq!(
            time_of("{\"timestamp\":\"2026-11-24T10:15:00.1Z\",\"level\":\"INFO\"}"),
            "2026-11-24T10:15:00.1Z"
        );
        assert_eq!(time_of("thread 'main' panicked at x.rs:1:1:"), "");
        let line = |text: &str| (time_of(text), "n".to_owned(), text.to_owned());
        let mut lines = vec![line("2026-11-24T10:15:00.1Z a"), line("b"), line("2026-11-24T10:15:00.2Z c")];
        carry_times(&mut lines);
        assert_eq!(lines[1].0, lines[0].0);
    }
}
