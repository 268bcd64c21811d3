//! Digest authentication (RFC 7616, RFC 8760 for SIP): answering challenges, issuing and verifying them.

use super::header::{HeaderName, HeaderValue};
use super::limits;
use super::message::Message;
use super::method::Method;
use super::parse::{Cursor, Fault, is_lws, quote, text};
use super::status::StatusCode;
use super::uri::UriRef;
use crate::base::{Pii, Random};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The hash of a challenge. Later variants are stronger: `max` chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// `MD5`, also meant when no algorithm is named.
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Sess,
    /// `SHA-512-256`
    Sha512_256,
    /// `SHA-512-256-sess`
    Sha512_256Sess,
}

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha256Sess, Self::Sha512_256, Self::Sha512_256Sess];

    /// The algorithm of a token, compared without case.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str().eq_ignore_ascii_case(token))
    }

    /// The token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// Whether A1 includes nonce and cnonce (RFC 7616 §3.4.2).
    #[must_use]
    pub fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }

    /// Whether the hash is MD5, which no longer is answered where a peer offers better (RFC 8760 §2.4).
    #[must_use]
    pub fn is_md5(self) -> bool {
        matches!(self, Self::Md5 | Self::Md5Sess)
    }

    /// The hash of the parts joined by colons, in lower-case hexadecimal.
    fn hash(self, parts: &[&[u8]]) -> String {
        fn joined<D: Digest>(parts: &[&[u8]]) -> String {
            let mut digest = D::new();
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    digest.update(b":");
                }
                digest.update(part);
            }
            hex(&digest.finalize())
        }
        match self {
            Self::Md5 | Self::Md5Sess => joined::<Md5>(parts),
            Self::Sha256 | Self::Sha256Sess => joined::<Sha256>(parts),
            Self::Sha512_256 | Self::Sha512_256Sess => joined::<Sha512_256>(parts),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Compares without telling by its duration where the difference lies. Lengths are no secret.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0u8, |d, (x, y)| d | (x ^ y))) == 0
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac_sha256(key: &[u8; 32], message: &[&[u8]]) -> [u8; 32] {
    let mut block = [0u8; 64];
    for (b, k) in block.iter_mut().zip(key) {
        *b = *k;
    }
    let inner =
        message.iter().fold(Sha256::new().chain_update(block.map(|b| b ^ 0x36)), Digest::chain_update).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
}

/// Who asks: a server for itself (401), or a proxy for the way (407).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Authority {
    /// 401, WWW-Authenticate, Authorization.
    Server,
    /// 407, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Authority {
    /// The authority behind a response that asks for credentials.
    #[must_use]
    pub fn of(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED => Some(Self::Server),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(Self::Proxy),
            _ => None,
        }
    }

    /// The status that asks for credentials.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Server => StatusCode::UNAUTHORIZED,
            Self::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// The header that carries challenges.
    #[must_use]
    pub fn challenge_header(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    /// The header that carries credentials.
    #[must_use]
    pub fn credentials_header(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// The quality of protection a challenge leaves us (RFC 7616 §3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Qop {
    /// None offered: the RFC 2069 form without nonce count.
    None,
    /// `auth`: method and URI.
    Auth,
    /// `auth-int`: the body too.
    AuthInt,
}

/// One digest challenge of a peer, or one of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// The realm, between its quotes as it came. Pin it: a peer that may choose the realm fishes for answers.
    pub realm: String,
    /// The nonce as it came.
    pub nonce: String,
    /// To be returned unchanged.
    pub opaque: Option<String>,
    /// The hash.
    pub algorithm: Algorithm,
    /// What will be protected: `auth` if offered, else `auth-int` if offered, else nothing.
    pub qop: Qop,
    /// Whether only the nonce was too old: the same credentials may be tried once more.
    pub stale: bool,
    /// Whether the peer named the algorithm; some reject an answer that names one they did not.
    names_algorithm: bool,
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Splits a header into its `scheme name=value, …` groups. Values lose their quotes, not their escapes.
fn groups(value: &[u8]) -> Result<Vec<(&str, Pairs<'_>)>, Fault> {
    let mut groups: Vec<(&str, Pairs<'_>)> = Vec::new();
    let mut cursor = Cursor::new(value);
    loop {
        cursor.take_while(|b| is_lws(b) || b == b',');
        if cursor.at_end() {
            return Ok(groups);
        }
        let word = cursor.token().ok_or_else(|| cursor.fault("a scheme or a parameter name"))?;
        if cursor.eat_spaced(b'=') {
            let value = if cursor.peek() == Some(b'"') {
                cursor.quoted().ok_or_else(|| cursor.fault("a closing quote"))?
            } else {
                cursor.take_while(|b| !is_lws(b) && b != b',')
            };
            let value = text(value).ok_or_else(|| cursor.fault("UTF-8"))?;
            let (_, pairs) = groups.last_mut().ok_or_else(|| cursor.fault("a scheme"))?;
            if pairs.len() == limits::DIGEST_PARAMETERS {
                return Err(cursor.fault("fewer parameters"));
            }
            pairs.push((word, value));
        } else if groups.len() == limits::CHALLENGES {
            return Ok(groups);
        } else {
            groups.push((word, Vec::new()));
            // A scheme that is not made of parameters (`Bearer abc/def==`) is skipped up to the next comma.
            let mut ahead = cursor;
            ahead.skip_lws();
            if ahead.token().is_none_or(|_| !ahead.eat_spaced(b'=') || matches!(ahead.peek(), None | Some(b'=' | b',')))
            {
                cursor.take_while(|b| b != b',');
            }
        }
    }
}

fn find<'a>(pairs: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v)
}

impl Challenge {
    /// All digest challenges of one header value with an algorithm and a qop known here; others are left out.
    ///
    /// # Errors
    /// If the value is malformed.
    pub fn parse(value: &[u8]) -> Result<Vec<Self>, Fault> {
        let digests = groups(value)?.into_iter().filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest"));
        Ok(digests.filter_map(|(_, pairs)| Self::of_pairs(&pairs)).collect())
    }

    fn of_pairs(pairs: &[(&str, &str)]) -> Option<Self> {
        let named = find(pairs, "algorithm");
        let qop = match find(pairs, "qop") {
            None | Some("") => Qop::None,
            Some(offer) => {
                let offers = |word: &str| offer.split(',').any(|q| q.trim().eq_ignore_ascii_case(word));
                if offers("auth") {
                    Qop::Auth
                } else if offers("auth-int") {
                    Qop::AuthInt
                } else {
                    return None;
                }
            }
        };
        Some(Self {
            realm: find(pairs, "realm")?.to_owned(),
            nonce: find(pairs, "nonce")?.to_owned(),
            opaque: find(pairs, "opaque").map(str::to_owned),
            algorithm: named.map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            qop,
            stale: find(pairs, "stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
            names_algorithm: named.is_some(),
        })
    }

    /// All challenges of a 401 or 407 that are understood, in order. Several proxies on the way may each add one of
    /// their own realm.
    #[must_use]
    pub fn offered(response: &Message<'_>) -> Option<(Authority, Vec<Self>)> {
        let authority = Authority::of(response.status()?)?;
        let values = response.values(authority.challenge_header()).take(limits::CHALLENGES);
        Some((authority, values.filter_map(|v| Self::parse(v).ok()).flatten().collect()))
    }

    /// The challenge of a 401 or 407 to answer: of all that are understood the one with the strongest algorithm, and of
    /// equals the first (RFC 8760 §2.4). `None` if there is none.
    #[must_use]
    pub fn strongest(response: &Message<'_>) -> Option<(Authority, Self)> {
        Self::strongest_where(response, |_| true)
    }

    /// As [`Challenge::strongest`], of one realm only: the one that is configured or pinned. A challenge of another realm
    /// beside it cannot lure the answer away.
    #[must_use]
    pub fn strongest_in_realm(response: &Message<'_>, realm: &str) -> Option<(Authority, Self)> {
        Self::strongest_where(response, |c| c.realm == realm)
    }

    fn strongest_where(response: &Message<'_>, is_meant: impl Fn(&Self) -> bool) -> Option<(Authority, Self)> {
        let (authority, offered) = Self::offered(response)?;
        let meant = offered.into_iter().filter(is_meant);
        let best = meant.reduce(|best, next| if next.algorithm > best.algorithm { next } else { best })?;
        Some((authority, best))
    }

    /// A challenge of our own, for one realm and algorithm. Send one per algorithm, strongest first.
    #[must_use]
    pub fn issue(nonces: &Nonces, now: Instant, realm: &str, algorithm: Algorithm, stale: bool) -> Self {
        // The realm comes from our settings; without quotes and control bytes it needs no escapes.
        let realm: String = realm.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
        let nonce = nonces.issue(now, &realm);
        Self { realm, nonce, opaque: None, algorithm, qop: Qop::Auth, stale, names_algorithm: true }
    }

    /// The value of WWW-Authenticate or Proxy-Authenticate.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let mut value = format!("Digest realm=\"{}\", nonce=\"{}\"", self.realm, self.nonce);
        if let Some(opaque) = &self.opaque {
            let _ = write!(value, ", opaque=\"{opaque}\"");
        }
        if self.stale {
            value.push_str(", stale=true");
        }
        let _ = write!(value, ", algorithm={}", self.algorithm.as_str());
        match self.qop {
            Qop::None => {}
            Qop::Auth => value.push_str(", qop=\"auth\""),
            Qop::AuthInt => value.push_str(", qop=\"auth-int\""),
        }
        HeaderValue::cleaned(&value)
    }
}

/// A user name (the PBX's authentication ID, which need not be the extension) and its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user name of the digest.
    pub username: Pii<String>,
    /// The password.
    pub password: Pii<String>,
}

impl Credentials {
    /// Credentials of a setting.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Pii::new(username.into()), password: Pii::new(password.into()) }
    }
}

/// What a digest protects, on either side.
struct Protected<'a> {
    realm: &'a str,
    nonce: &'a str,
    nc: &'a str,
    cnonce: &'a str,
    qop: Qop,
    method: &'a Method,
    uri: &'a str,
    body: &'a [u8],
}

/// The `response` of RFC 7616 §3.4.1.
fn response(algorithm: Algorithm, username: &str, password: &str, p: &Protected<'_>) -> String {
    let mut ha1 = algorithm.hash(&[username.as_bytes(), p.realm.as_bytes(), password.as_bytes()]);
    if algorithm.is_session() {
        ha1 = algorithm.hash(&[ha1.as_bytes(), p.nonce.as_bytes(), p.cnonce.as_bytes()]);
    }
    let (method, uri) = (p.method.as_str().as_bytes(), p.uri.as_bytes());
    let ha2 = match p.qop {
        Qop::None | Qop::Auth => algorithm.hash(&[method, uri]),
        Qop::AuthInt => algorithm.hash(&[method, uri, algorithm.hash(&[p.body]).as_bytes()]),
    };
    let (ha1, ha2, nonce) = (ha1.as_bytes(), ha2.as_bytes(), p.nonce.as_bytes());
    match p.qop {
        Qop::None => algorithm.hash(&[ha1, nonce, ha2]),
        qop => algorithm.hash(&[ha1, nonce, p.nc.as_bytes(), p.cnonce.as_bytes(), qop.as_str().as_bytes(), ha2]),
    }
}

impl Qop {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// The value of Authorization or Proxy-Authorization that answers a challenge.
///
/// `uri` is the Request-URI as it will be sent. `nonce_count` is 1 for the first answer to a nonce and grows with each
/// further request that uses it. `cnonce` is random, at least 16 hexadecimal digits of [`Random::hex`].
///
/// The caller decides whether the challenge deserves an answer at all (CVE-2021-41158): its own trunk, its address, its
/// pinned realm, not more than two attempts, no MD5 where SHA-256 was offered before.
#[must_use]
pub fn answer(
    challenge: &Challenge,
    credentials: &Credentials,
    method: &Method,
    uri: &str,
    body: &[u8],
    nonce_count: u32,
    cnonce: &str,
) -> HeaderValue {
    let Challenge { realm, nonce, algorithm, qop, .. } = challenge;
    let nc = format!("{nonce_count:08x}");
    let username = credentials.username.expose();
    let protected = Protected { realm, nonce, nc: &nc, cnonce, qop: *qop, method, uri, body };
    let response = response(*algorithm, username, credentials.password.expose(), &protected);
    let mut value = format!(
        "Digest username={}, realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\"",
        quote(username)
    );
    if challenge.names_algorithm {
        let _ = write!(value, ", algorithm={}", algorithm.as_str());
    }
    if *qop != Qop::None || algorithm.is_session() {
        let _ = write!(value, ", cnonce=\"{cnonce}\"");
    }
    if *qop != Qop::None {
        let _ = write!(value, ", qop={}, nc={nc}", qop.as_str());
    }
    if let Some(opaque) = &challenge.opaque {
        let _ = write!(value, ", opaque=\"{opaque}\"");
    }
    HeaderValue::cleaned(&value)
}

/// How long a nonce of ours may be used. Answers captured on the wire are worth nothing after it.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Makes and recognises nonces without a table: each carries its time and a MAC over it, so that a flood of requests
/// without credentials leaves nothing behind. A captured answer can be repeated for the same method and URI while its
/// nonce lives; the transaction layer's matching of CSeq and branch is what stops that within a dialog.
#[derive(Debug)]
pub struct Nonces {
    key: Pii<[u8; 32]>,
    epoch: Instant,
}

impl Nonces {
    /// Nonces under a fresh key. Those of an earlier process are not recognised: their users are asked again.
    pub fn new(now: Instant, random: &mut Random) -> Self {
        let mut key = [0u8; 32];
        for chunk in key.chunks_mut(8) {
            for (byte, fresh) in chunk.iter_mut().zip(random.next_u64().to_le_bytes()) {
                *byte = fresh;
            }
        }
        Self { key: Pii::new(key), epoch: now }
    }

    fn mac(&self, time: &str, realm: &str) -> String {
        hex(hmac_sha256(self.key.expose(), &[time.as_bytes(), b":", realm.as_bytes()]).get(..16).unwrap_or_default())
    }

    fn issue(&self, now: Instant, realm: &str) -> String {
        let time = format!("{:016x}", now.saturating_duration_since(self.epoch).as_millis());
        let mac = self.mac(&time, realm);
        time + &mac
    }

    /// How old a nonce is; `None` if we did not make it for that realm.
    fn age(&self, now: Instant, realm: &str, nonce: &str) -> Option<Duration> {
        let (time, mac) = nonce.split_at_checked(16)?;
        if !equal_in_constant_time(self.mac(time, realm).as_bytes(), mac.as_bytes()) {
            return None;
        }
        let made = self.epoch.checked_add(Duration::from_millis(u64::from_str_radix(time, 16).ok()?))?;
        Some(now.saturating_duration_since(made))
    }
}

/// Why credentials were not accepted. Except for [`Refusal::Stale`] the peer must not learn which: challenge again, or
/// 403, the same for every reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No digest credentials, or none that can be read.
    #[error("the request carries no readable digest credentials")]
    Absent,
    /// Another realm than ours.
    #[error("the credentials are for another realm")]
    Realm,
    /// A nonce that we did not make.
    #[error("the nonce is not ours")]
    Nonce,
    /// The response is right but the nonce too old: challenge again with `stale=true`.
    #[error("the nonce is too old")]
    Stale,
    /// An algorithm that we did not offer.
    #[error("the credentials use an algorithm that was not offered")]
    Algorithm,
    /// The digest covers another URI than the request's.
    #[error("the credentials are for another Request-URI")]
    Uri,
    /// Wrong user name or password.
    #[error("the user name or password is wrong")]
    Response,
}

/// The credentials of a request, as claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    /// The claimed user name.
    pub username: Pii<String>,
    /// The realm as it came.
    pub realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    qop: Qop,
    cnonce: String,
    nc: String,
}

/// What credentials are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our realm.
    pub realm: &'a str,
    /// The algorithms we offered.
    pub algorithms: &'a [Algorithm],
    /// The credentials of the claimed user; `None` if there is no such user, which takes the same time to refuse.
    pub credentials: Option<&'a Credentials>,
}

impl Authorization {
    /// Reads the value of Authorization or Proxy-Authorization; `None` for another scheme or if it cannot be read.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let groups = groups(value).ok()?;
        let (_, pairs) = groups.into_iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest"))?;
        let owned = |name: &str| find(&pairs, name).map(str::to_owned);
        let username = super::parse::unescape(find(&pairs, "username")?.as_bytes());
        let qop = match find(&pairs, "qop") {
            None => Qop::None,
            Some(q) if q.eq_ignore_ascii_case("auth") => Qop::Auth,
            Some(q) if q.eq_ignore_ascii_case("auth-int") => Qop::AuthInt,
            Some(_) => return None,
        };
        Some(Self {
            username: Pii::new(username),
            realm: owned("realm")?,
            nonce: owned("nonce")?,
            uri: owned("uri")?,
            response: owned("response")?,
            algorithm: find(&pairs, "algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            qop,
            cnonce: owned("cnonce").unwrap_or_default(),
            nc: owned("nc").unwrap_or_default(),
        })
    }

    /// The credentials of a request for our realm, if it carries any.
    #[must_use]
    pub fn of_request(request: &Message<'_>, authority: Authority, realm: &str) -> Option<Self> {
        request.values(authority.credentials_header()).filter_map(Self::parse).find(|a| a.realm == realm)
    }

    /// Checks the credentials in a time that does not depend on what is wrong with them.
    ///
    /// # Errors
    /// Why they are refused.
    pub fn verify(
        &self,
        nonces: &Nonces,
        now: Instant,
        expected: &Expected<'_>,
        request: &Message<'_>,
    ) -> Result<(), Refusal> {
        let method = request.method().ok_or(Refusal::Absent)?;
        let request_uri = request.request_uri().map_err(|_| Refusal::Uri)?;
        let age = nonces.age(now, expected.realm, &self.nonce);
        let nobody = Credentials::new("", "");
        let credentials = expected.credentials.unwrap_or(&nobody);
        let protected = Protected {
            realm: expected.realm,
            nonce: &self.nonce,
            nc: &self.nc,
            cnonce: &self.cnonce,
            qop: self.qop,
            method,
            uri: &self.uri,
            body: request.body(),
        };
        let right = response(self.algorithm, credentials.username.expose(), credentials.password.expose(), &protected);
        let matches = equal_in_constant_time(right.as_bytes(), self.response.to_ascii_lowercase().as_bytes())
            & expected.credentials.is_some();
        if self.realm != expected.realm {
            return Err(Refusal::Realm);
        }
        if !expected.algorithms.contains(&self.algorithm) {
            return Err(Refusal::Algorithm);
        }
        if self.uri != request_uri.as_str() && !UriRef::parse(&self.uri).is_ok_and(|u| u.is_equivalent(&request_uri)) {
            return Err(Refusal::Uri);
        }
        match age {
            _ if !matches => Err(Refusal::Response),
            None => Err(Refusal::Nonce),
            Some(age) if age > NONCE_LIFETIME => Err(Refusal::Stale),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "tests/digest.rs"]
mod tests;
