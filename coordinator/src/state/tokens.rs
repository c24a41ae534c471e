//! The tokens of people and programs that are good.

use shoal_proto::v1::{AddToken, CommandReply, RefusalKind, UseTokens};

use super::{ClusterState, refused};

/// Tokens that are good at once: every router is told of them.
pub const TOKENS_MAX: usize = 1_000;

impl ClusterState {
    pub(super) fn add_token(&mut self, add: AddToken) -> CommandReply {
        let AddToken { token: Some(token), first } = add else {
            return refused(RefusalKind::Invalid, "the token is missing".to_owned());
        };
        if first && self.had_tokens {
            let reason = "the cluster has had a token, so this is not its first one".to_owned();
            return refused(RefusalKind::Precondition, reason);
        }
        if self.tokens.contains_key(&token.id) {
            let reason = format!("there is a token {} already; draw another one", token.id);
            return refused(RefusalKind::Precondition, reason);
        }
        if self.tokens.len() >= TOKENS_MAX {
            // One whose time is over was kept to be shown.
            let now = token.created_unix_ms;
            self.tokens.retain(|_, known| known.expires_unix_ms == 0 || known.expires_unix_ms > now);
        }
        if self.tokens.len() >= TOKENS_MAX {
            let reason = format!(
                "there are {TOKENS_MAX} tokens, as many as may be; `shoal tokens revoke ID` makes room"
            );
            return refused(RefusalKind::Precondition, reason);
        }
        self.had_tokens = true;
        self.tokens.insert(token.id.clone(), token);
        CommandReply::default()
    }

    pub(super) fn revoke_token(&mut self, id: &str) -> CommandReply {
        if self.tokens.remove(id).is_none() {
            let reason = format!("there is no token '{id}'; `shoal tokens list` shows those there are");
            return refused(RefusalKind::NotFound, reason);
        }
        CommandReply::default()
    }

    pub(super) fn use_tokens(&mut self, used: UseTokens) -> CommandReply {
        for id in used.ids {
            if let Some(token) = self.tokens.get_mut(&id) {
                token.last_used_unix_day = token.last_used_unix_day.max(used.unix_day);
            }
        }
        CommandReply::default()
    }
}
