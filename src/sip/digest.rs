//! Digest authentication (RFC 7616, RFC 8760 for SIP): answering challenges, issuing and verifying them.

use super::header::{HeaderName, HeaderValue};
use super::limits;
use super::message::Message;
use super::method::Method;
use super::nonce::{NONCE_LIFETIME, Nonces, equal_in_constant_time, hex};
use super::parse::{Cursor, Fault, is_lws, quote, text};
use super::status::StatusCode;
use super::uri::UriRef;
use crate::base::Pii;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Instant;

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

    /// Challenges of our own for one realm, one per algorithm; list the strongest first (RFC 8760 §2.3).
    #[must_use]
    pub fn offer(
        nonces: &mut Nonces,
        now: Instant,
        realm: &str,
        source: IpAddr,
        algorithms: &[Algorithm],
        stale: bool,
    ) -> Vec<Self> {
        let nonce = nonces.issue(now, realm, source);
        // The realm comes from our settings; without quotes and control bytes it needs no escapes.
        let realm: String = realm.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
        let challenge = |algorithm: &Algorithm| Self {
            realm: realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            algorithm: *algorithm,
            qop: Qop::Auth,
            stale,
            names_algorithm: true,
        };
        algorithms.iter().map(challenge).collect()
    }

    /// The challenge without the name of its algorithm: shorter, and MD5 to whoever reads it (RFC 7616 §3.3).
    #[must_use]
    pub fn in_md5_unnamed(&self) -> Self {
        Self { algorithm: Algorithm::Md5, names_algorithm: false, ..self.clone() }
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
        if self.names_algorithm {
            let _ = write!(value, ", algorithm={}", self.algorithm.as_str());
        }
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
/// further request that uses it. `cnonce` is random, at least 16 hexadecimal digits.
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

/// The `nextnonce` of an Authentication-Info (RFC 7616 §3.5): the nonce that the server wants in the next request.
#[must_use]
pub fn next_nonce(authentication_info: &[u8]) -> Option<String> {
    // The header is a list of parameters without a scheme; one in front makes it what `groups` reads.
    let with_scheme = [b"Digest ", authentication_info].concat();
    let groups = groups(&with_scheme).ok()?;
    find(&groups.first()?.1, "nextnonce").filter(|nonce| !nonce.is_empty()).map(str::to_owned)
}

/// Why credentials were not accepted. Except for [`Refusal::Stale`] and [`Refusal::Replayed`] the peer must not learn which:
/// challenge again, or 403, the same for every reason.
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
    /// The response is right but was used before: challenge again with `stale=true`.
    #[error("the credentials were used before")]
    Replayed,
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
    /// Where the request came from.
    pub source: IpAddr,
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

    /// The nonce count. Without one, as in RFC 2069, a nonce is good for one request.
    fn count(&self) -> u32 {
        if self.qop == Qop::None { 1 } else { u32::from_str_radix(&self.nc, 16).unwrap_or(0) }
    }

    /// Whether its nonce is one that we made for this address and realm: whoever sent it can hear us there.
    #[must_use]
    pub fn has_nonce_of(&self, nonces: &Nonces, now: Instant, source: IpAddr) -> bool {
        nonces.age(now, &self.realm, source, &self.nonce).is_some()
    }

    /// Checks the credentials in a time that does not depend on what is wrong with them.
    ///
    /// # Errors
    /// Why they are refused.
    pub fn verify(
        &self,
        nonces: &mut Nonces,
        now: Instant,
        expected: &Expected<'_>,
        request: &Message<'_>,
    ) -> Result<(), Refusal> {
        let method = request.method().ok_or(Refusal::Absent)?;
        let request_uri = request.request_uri().map_err(|_| Refusal::Uri)?;
        let age = nonces.age(now, expected.realm, expected.source, &self.nonce);
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
            Some(_) if !nonces.use_once(now, &self.nonce, self.count()) => Err(Refusal::Replayed),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "tests/digest.rs"]
mod tests;
