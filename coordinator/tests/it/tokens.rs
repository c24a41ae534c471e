//! Tokens: the first one, what each scope opens, and who is told what of them.

use std::time::Duration;

use shoal_common::{
    access::{Scope, Token},
    rpc::{CallCredentials, LEADER_KEY},
    tls::PeerRole,
};
use shoal_coordinator::state::TOKENS_MAX;
use shoal_proto::v1::{coordinator_client::CoordinatorClient, *};
use tonic::{Code, Status};

use crate::support::{cluster::Cluster, eventually_async, group::CLUSTER};

const LEASE: Duration = Duration::from_secs(10);

fn info(token: &Token, scope: Scope) -> TokenInfo {
    let mut info = TokenInfo {
        id: token.id().to_owned(),
        label: "a test's".to_owned(),
        sha256: token.digest().as_bytes().to_vec().into(),
        ..TokenInfo::default()
    };
    info.push_scopes(scope.to_wire());
    info
}

/// What the leader answers to the holder of a token.
macro_rules! ask {
    ($cluster:expr, $token:expr, $method:ident, $request:expr) => {{
        let request = $request;
        let leader = $cluster.coordinators.clone().with_token($token);
        let answer = leader.call(Duration::from_secs(30), |mut client| {
            let request = request.clone();
            async move { client.$method(request).await }
        });
        answer.await.map(|answer| answer.into_inner())
    }};
}

async fn create(cluster: &Cluster, by: &Token, token: TokenInfo) -> Result<TokenInfo, Status> {
    let request = CreateTokenRequest { token: Some(token), request_id: String::new() };
    ask!(cluster, Some(by), create_token, request).map(|reply| reply.token.unwrap())
}

/// A cluster that has begun with the token.
async fn with_first(first: &Token, size: u64) -> Cluster {
    let mut cluster = Cluster::found(size, LEASE);
    cluster.needs_token(first);
    (1..=size).for_each(|id| cluster.revive(id));
    eventually_async("the first token is good", || async {
        ask!(cluster, Some(first), list_tokens, ListTokensRequest {}).ok()
    })
    .await;
    cluster
}

#[tokio::test]
async fn each_scope_opens_its_methods_and_no_more() {
    let [first, read, train] = [(); 3].map(|()| Token::draw().unwrap());
    let cluster = with_first(&first, 1).await;
    create(&cluster, &first, info(&read, Scope::Read)).await.unwrap();
    create(&cluster, &first, info(&train, Scope::Train)).await.unwrap();

    let nobody: Option<&Token> = None;
    for (token, reads, trains, administers) in [
        (nobody, false, false, false),
        (Some(&Token::draw().unwrap()), false, false, false),
        (Some(&read), true, false, false),
        (Some(&train), true, true, false),
        (Some(&first), true, true, true),
    ] {
        // A method that is open answers in its own words: there is no such job, model or node.
        let is_open = |answer: Result<(), Status>| {
            !matches!(
                answer.map_err(|status| status.code()),
                Err(Code::Unauthenticated | Code::PermissionDenied)
            )
        };
        let name = |name: &str| name.to_owned();
        let job = JobRequest { job_id: name("job-000001") };
        let training = |promote| StartTrainingRequest { promote, ..Default::default() };
        let found = [
            is_open(ask!(cluster, token, status, ClusterStatusRequest {}).map(drop)),
            is_open(ask!(cluster, token, list_models, ListModelsRequest {}).map(drop)),
            is_open(ask!(cluster, token, get_job, job.clone()).map(drop)),
        ];
        assert_eq!(found, [reads; 3], "{token:?}");
        let found = [
            is_open(ask!(cluster, token, start_training, training(false)).map(drop)),
            is_open(ask!(cluster, token, import_dataset, ImportDatasetRequest::default()).map(drop)),
            is_open(ask!(cluster, token, cancel_job, job).map(drop)),
        ];
        assert_eq!(found, [trains; 3], "{token:?}");
        let node = ForgetNodeRequest { node: name("n") };
        let version = PromoteRequest { version: name("v"), ..Default::default() };
        let found = [
            is_open(ask!(cluster, token, start_training, training(true)).map(drop)),
            is_open(ask!(cluster, token, forget_node, node).map(drop)),
            is_open(ask!(cluster, token, promote, version).map(drop)),
            is_open(ask!(cluster, token, rollback, RollbackRequest::default()).map(drop)),
            is_open(ask!(cluster, token, list_tokens, ListTokensRequest {}).map(drop)),
            is_open(ask!(cluster, token, revoke_token, RevokeTokenRequest { id: "0".repeat(16) }).map(drop)),
        ];
        assert_eq!(found, [administers; 6], "{token:?}");
    }
    cluster.kill_all().await;
}

#[tokio::test]
async fn no_hash_is_shown_and_a_revoked_token_is_good_for_nothing() {
    let [first, other] = [(); 2].map(|()| Token::draw().unwrap());
    let cluster = with_first(&first, 1).await;
    let made = create(&cluster, &first, info(&other, Scope::Admin)).await.unwrap();
    assert!(made.sha256.is_empty() && made.created_unix_ms > 0);
    assert_eq!(made.created_by, format!("token {}", first.id()));
    let listed = ask!(cluster, Some(&other), list_tokens, ListTokensRequest {}).unwrap().tokens;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|token| token.sha256.is_empty()));
    let status = ask!(cluster, Some(&other), status, ClusterStatusRequest {}).unwrap();
    assert!(status.metadata.unwrap().tokens.is_empty());

    let request = RevokeTokenRequest { id: other.id().to_owned() };
    ask!(cluster, Some(&first), revoke_token, request.clone()).unwrap();
    let refused = ask!(cluster, Some(&other), status, ClusterStatusRequest {}).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = ask!(cluster, Some(&first), revoke_token, request).unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    cluster.kill_all().await;
}

#[tokio::test]
async fn the_first_token_is_the_first_one_once() {
    let first = Token::draw().unwrap();
    let mut cluster = with_first(&first, 1).await;
    let second = Token::draw().unwrap();
    create(&cluster, &first, info(&second, Scope::Admin)).await.unwrap();
    let request = RevokeTokenRequest { id: first.id().to_owned() };
    ask!(cluster, Some(&second), revoke_token, request).unwrap();
    // The file is still there when the coordinator starts again.
    cluster.stop(1).await.unwrap();
    cluster.revive(1);
    let known = ask!(cluster, Some(&second), list_tokens, ListTokensRequest {}).unwrap().tokens;
    assert_eq!(known.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(), [second.id()]);
    let refused = ask!(cluster, Some(&first), status, ClusterStatusRequest {}).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    cluster.kill_all().await;
}

#[tokio::test]
async fn a_member_that_does_not_lead_sends_the_holder_of_a_token_to_the_leader() {
    let first = Token::draw().unwrap();
    let cluster = with_first(&first, 3).await;
    let status = ask!(cluster, Some(&first), status, ClusterStatusRequest {}).unwrap();
    let leader = status.coordinators.iter().find(|member| member.leader).unwrap();
    let follower = status.coordinators.iter().find(|member| !member.leader).unwrap();
    let channel = shoal_common::rpc::Channels::tcp().get(&follower.address, PeerRole::Coordinator).unwrap();
    let with = |token| CoordinatorClient::with_interceptor(channel.clone(), CallCredentials::new(token));
    let sent_on = with(Some(&first)).status(ClusterStatusRequest {}).await.unwrap_err();
    assert_eq!(sent_on.metadata().get(LEADER_KEY).unwrap(), &leader.address);
    // It may not have heard of a token yet, so it judges none.
    let unheard_of = Token::draw().unwrap();
    let sent_on = with(Some(&unheard_of)).status(ClusterStatusRequest {}).await.unwrap_err();
    assert_eq!(sent_on.metadata().get(LEADER_KEY).unwrap(), &leader.address);
    let refused = with(None).status(ClusterStatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    cluster.kill_all().await;
}

#[tokio::test]
async fn a_token_that_cannot_be_is_not_made() {
    let first = Token::draw().unwrap();
    let cluster = with_first(&first, 1).await;
    let good = || info(&Token::draw().unwrap(), Scope::Read);
    let wrong = [
        TokenInfo { id: "g".repeat(16), ..good() },
        TokenInfo { id: String::new(), ..good() },
        TokenInfo { sha256: vec![0; 31].into(), ..good() },
        TokenInfo { label: "l".repeat(65), ..good() },
        TokenInfo { label: "two\nlines".to_owned(), ..good() },
        TokenInfo { scopes: vec![], ..good() },
        TokenInfo { scopes: vec![0], ..good() },
        TokenInfo { scopes: vec![99], ..good() },
        TokenInfo { scopes: vec![1; 4], ..good() },
        TokenInfo { expires_unix_ms: 1, ..good() },
        TokenInfo { expires_unix_ms: -1, ..good() },
        TokenInfo { expires_unix_ms: i64::MAX, ..good() },
        TokenInfo { cost_per_second: 5e-324, ..good() },
        TokenInfo { cost_per_second: -1.0, ..good() },
        TokenInfo { cost_per_second: f64::NAN, ..good() },
    ];
    for token in wrong {
        let refused = create(&cluster, &first, token.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{token:?}: {refused}");
    }
    // A request that comes again makes no other token.
    let request = |token| CreateTokenRequest { token: Some(token), request_id: "again".to_owned() };
    ask!(cluster, Some(&first), create_token, request(good())).unwrap();
    let refused = ask!(cluster, Some(&first), create_token, request(good())).unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let twice = good();
    create(&cluster, &first, twice.clone()).await.unwrap();
    assert_eq!(create(&cluster, &first, twice).await.unwrap_err().code(), Code::FailedPrecondition);
    cluster.kill_all().await;
}

#[tokio::test]
async fn the_last_day_of_a_tokens_use_is_written_down() {
    let [first, idle] = [(); 2].map(|()| Token::draw().unwrap());
    let cluster = with_first(&first, 1).await;
    create(&cluster, &first, info(&idle, Scope::Read)).await.unwrap();
    let beat = HeartbeatRequest {
        cluster_id: CLUSTER.into(),
        node: "router-1".to_owned(),
        role: NodeRole::Router.into(),
        address: "127.0.0.1:1".into(),
        // Of a token that is not there nothing is kept.
        used_tokens: vec![idle.id().to_owned(), "f".repeat(16)],
        ..Default::default()
    };
    ask!(cluster, Some(&first), heartbeat, beat).unwrap();
    eventually_async("both uses are written down", || async {
        let known = ask!(cluster, Some(&first), list_tokens, ListTokensRequest {}).unwrap().tokens;
        (known.len() == 2 && known.iter().all(|token| token.last_used_unix_day > 20_000)).then_some(())
    })
    .await;
    cluster.kill_all().await;
}

#[test]
fn tokens_are_bounded_and_make_room_when_their_time_is_over() {
    use prost::Message as _;
    use shoal_coordinator::{raft::StateMachine as _, state::Metadata};

    let mut machine = Metadata::new("c");
    let mut index = 0;
    let mut add = |created_unix_ms: i64, expires_unix_ms: i64| {
        index += 1;
        let id = format!("{index:016x}");
        let token = TokenInfo { id, created_unix_ms, expires_unix_ms, ..TokenInfo::default() };
        let add = AddToken { token: Some(token), first: false };
        let command = metadata_command::Command::AddToken(add);
        let command = MetadataCommand { command: Some(command), request_id: String::new() };
        CommandReply::decode(machine.apply(index, &command.encode_to_vec())).unwrap().refusal()
    };
    for number in 0..TOKENS_MAX {
        // One of them is good until 5.
        let expires = if number == 7 { 5 } else { 0 };
        assert_eq!(add(1, expires), RefusalKind::Unspecified);
    }
    assert_eq!(add(4, 0), RefusalKind::Precondition);
    assert_eq!(add(5, 0), RefusalKind::Unspecified);
    assert_eq!(add(6, 0), RefusalKind::Precondition);
}

#[tokio::test]
async fn whoever_watches_a_job_is_left_when_the_token_is_revoked() {
    let [first, read] = [(); 2].map(|()| Token::draw().unwrap());
    let cluster = with_first(&first, 1).await;
    create(&cluster, &first, info(&read, Scope::Read)).await.unwrap();
    // Nobody is there to run it.
    let import = ImportDatasetRequest {
        name: "films".to_owned(),
        source: Some(DatasetSource { uri: "/films".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let job_id = ask!(cluster, Some(&first), import_dataset, import).unwrap().job_id;
    let request = JobRequest { job_id };
    let [mut left, mut stays] = [
        ask!(cluster, Some(&read), watch_job, request.clone()).unwrap(),
        ask!(cluster, Some(&first), watch_job, request.clone()).unwrap(),
    ];
    for stream in [&mut left, &mut stays] {
        assert!(stream.message().await.unwrap().is_some());
    }
    let revoke = RevokeTokenRequest { id: read.id().to_owned() };
    ask!(cluster, Some(&first), revoke_token, revoke).unwrap();
    let end = loop {
        match left.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the job ended before"),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), Code::Unauthenticated, "{end}");
    ask!(cluster, Some(&first), cancel_job, request).unwrap();
    while stays.message().await.unwrap().is_some() {}
    cluster.kill_all().await;
}
