//! Tokens of people and programs: `shoal_<id>_<secret>`.
//!
//! A token is drawn by whoever asks for it. The cluster is told the token's id and hash, so the secret is its holder's alone.

use std::{fmt, path::Path};

use http::HeaderValue;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use subtle::ConstantTimeEq as _;

/// How a token begins.
const PREFIX: &str = "shoal";
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 16;
/// Hexadecimal digits of a secret: 256 bits.
const SECRET_DIGITS: usize = 64;
/// Characters of a token, and of the longest header that names one.
const TOKEN_BYTES: usize = PREFIX.len() + 1 + ID_DIGITS + 1 + SECRET_DIGITS;
/// Bytes of a file with a token that are looked at: the token and the line's end.
const FILE_BYTES_MAX: u64 = 1_024;

/// A secret that says who asks. Its text is shown by [`Token::expose`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is shoal_<16 digits>_<64 digits>, as `shoal tokens create` prints it")]
pub struct NotAToken;

/// A file has no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token in '{path}': {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its text is none.
    #[error("the file '{path}' has no token: {source}")]
    Text {
        /// The file.
        path: String,
        /// What a token looks like.
        source: NotAToken,
    },
}

/// No random bytes are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes for a token")]
pub struct NoRandomness;

impl Token {
    /// Draws a token of 256 random bits, with an id of 64.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn draw() -> Result<Self, NoRandomness> {
        let mut bytes = [0u8; (ID_DIGITS + SECRET_DIGITS) / 2];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        let (id, secret) = bytes.split_at(ID_DIGITS / 2);
        Ok(Self(format!("{PREFIX}_{}_{}", hexadecimal(id), hexadecimal(secret))))
    }

    /// Reads a token's text, with white space around it.
    ///
    /// # Errors
    /// When it has another form. The text is not repeated: it may be a secret with a slip.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let mut parts = text.splitn(3, '_');
        let is_token = parts.next() == Some(PREFIX)
            && parts.next().is_some_and(is_token_id)
            && parts.next().is_some_and(|secret| is_lowercase_hexadecimal(secret, SECRET_DIGITS));
        if is_token { Ok(Self(text.to_owned())) } else { Err(NotAToken) }
    }

    /// The token that a file holds.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        use std::io::Read as _;
        let name = || path.display().to_string();
        let mut text = String::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|source| TokenFileError::Read { path: name(), source })?;
        Self::parse(&text).map_err(|source| TokenFileError::Text { path: name(), source })
    }

    /// The token in a header `Authorization: Bearer <token>`.
    ///
    /// # Errors
    /// When the header has another form.
    pub fn of_header(header: &HeaderValue) -> Result<Self, NotAToken> {
        let text = header.to_str().map_err(|_| NotAToken)?;
        let (scheme, token) = text.split_once(' ').ok_or(NotAToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.len() > 2 * TOKEN_BYTES {
            return Err(NotAToken);
        }
        Self::parse(token)
    }

    /// What tells tokens apart; no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        let start = PREFIX.len() + 1;
        &self.0[start..start + ID_DIGITS]
    }

    /// The hash by which the cluster knows the token.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        TokenDigest(bytes)
    }

    /// The token's text, for its holder.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The header `Authorization` with the token, which is not shown by what prints headers.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        // A token is letters, digits and underscores.
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Token({PREFIX}_{}_…)", self.id())
    }
}

/// SHA-256 of a token's text.
#[derive(Debug, Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// A hash that was sent; `None` when it has not 32 bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash's 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in a time that does not tell where two hashes differ.
    #[must_use]
    pub fn is_that_of(&self, token: &Token) -> bool {
        self.0.ct_eq(&token.digest().0).into()
    }
}

/// Whether a text is the id of a token.
#[must_use]
pub fn is_token_id(text: &str) -> bool {
    is_lowercase_hexadecimal(text, ID_DIGITS)
}

fn is_lowercase_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_drawn_token_is_read_back_and_is_like_no_other() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert_eq!(Token::parse(&format!(" {}\n", one.expose())).unwrap(), one);
        assert_eq!(Token::of_header(&one.header()).unwrap(), one);
        assert_ne!(one.id(), other.id());
        assert!(one.digest().is_that_of(&one) && !one.digest().is_that_of(&other));
    }

    #[test]
    fn the_secret_is_in_no_debug_output() {
        let token = Token::draw().unwrap();
        let secret = token.expose().rsplit('_').next().unwrap().to_owned();
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, token.header());
        for shown in [format!("{token:?}"), format!("{headers:?}"), format!("{:?}", token.digest())] {
            assert!(!shown.contains(&secret), "{shown}");
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        // The digest of the text below by an independent program.
        let text = format!("shoal_{}_{}", "0".repeat(16), "f".repeat(64));
        let digest = Token::parse(&text).unwrap().digest();
        assert_eq!(
            hexadecimal(digest.as_bytes()),
            "643891f7c8e28737a0844ca325974406d346e247ef6aa1795814f8dd42c72cdb"
        );
    }

    proptest! {
        #[test]
        fn no_text_but_a_tokens_is_taken(text in "(shoal|Shoal|)_?[0-9a-fA-F_ ]{0,90}") {
            if let Ok(token) = Token::parse(&text) {
                prop_assert_eq!(token.expose().len(), TOKEN_BYTES);
                prop_assert_eq!(token.expose(), text.trim());
            }
            if let Ok(header) = HeaderValue::from_str(&text) {
                prop_assert!(Token::of_header(&header).is_err());
            }
        }
    }
}
