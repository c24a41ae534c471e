//! `shoal up`: a local cluster in the foreground.

use super::{
    failure::Exit,
    local_args::{self, LocalArgs, Start},
};
use crate::{local::admin_token_file, output};

const EXAMPLE: &str = "\
Examples:
  shoal up
  shoal up --workers 5 --http 127.0.0.1:8080 --dir ./my-cluster
  shoal up --coordinators 1 --workers 1

Each node is a process of its own with a folder, a settings file and a log below --dir. One that ends \
is started again. Ctrl-C stops routers, workers and coordinators in this order.";

/// Flags of `shoal up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    local: LocalArgs,
    /// Seed of the random choices that do not follow from data
    #[arg(long)]
    seed: Option<u64>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut signals = args.local.signals()?;
    let Start::Up(running) = local_args::start(&args.local.spec(args.seed)?, &mut signals).await? else {
        return Ok(Exit::Interrupted);
    };
    let (file, dir) = (&running.plan().file, running.plan().dir.display());
    let (url, curl) = (running.http_url(), running.plan().curl());
    let token = match running.plan().needs_tokens() {
        true => format!("token         {}\n", admin_token_file(&running.plan().dir).display()),
        false => String::new(),
    };
    output::print(&format!(
        "{}, {} and a router are up.\n\
         HTTP          {url}\n\
         coordinators  {}\n\
         folder        {dir}\n\
         {token}\
         try           {curl} {url}/v1/health\n\
         Ctrl-C stops them.",
        output::counted(file.coordinators.len() as u64, "coordinator"),
        output::counted(file.workers.len() as u64, "worker"),
        file.coordinator_addresses().join(", "),
    ))?;
    signals.received().await;
    output::say("shoal: stopping");
    running.stop().await;
    Ok(Exit::Done)
}
