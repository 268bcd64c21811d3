//! Names of header fields: long form, compact form, and whether a message may carry several.

use std::fmt;

/// A header field name known to this server, or [`HeaderName::Extension`] for every other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each variant is the header of that name, which `as_str` spells")]
pub enum HeaderName {
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    AlertInfo,
    Allow,
    AllowEvents,
    AuthenticationInfo,
    Authorization,
    CallId,
    CallInfo,
    Contact,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Diversion,
    ErrorInfo,
    Event,
    Expires,
    From,
    HistoryInfo,
    Identity,
    MaxForwards,
    MimeVersion,
    MinExpires,
    MinSe,
    Organization,
    PAssertedIdentity,
    Path,
    PPreferredIdentity,
    Priority,
    Privacy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyRequire,
    RAck,
    Reason,
    RecordRoute,
    ReferredBy,
    ReferSub,
    ReferTo,
    RemotePartyId,
    Replaces,
    Require,
    RetryAfter,
    Route,
    RSeq,
    Server,
    ServiceRoute,
    SessionExpires,
    Subject,
    SubscriptionState,
    Supported,
    Timestamp,
    To,
    Unsupported,
    UserAgent,
    UserToUser,
    Via,
    Warning,
    WwwAuthenticate,
    /// A name not listed here; the field keeps its spelling.
    Extension,
}

macro_rules! names {
    ($($variant:ident $canonical:literal $lower:literal $(| $compact:literal)?;)*) => {
        impl HeaderName {
            /// The name of a field as spelled by a peer: long or compact form, any case.
            #[must_use]
            pub fn parse(spelling: &[u8]) -> Self {
                let mut lower = [0u8; 24];
                let Some(lower) = lower.get_mut(..spelling.len()) else { return Self::Extension };
                for (low, byte) in lower.iter_mut().zip(spelling) {
                    *low = byte.to_ascii_lowercase();
                }
                match &*lower {
                    $($lower $(| $compact)? => Self::$variant,)*
                    _ => Self::Extension,
                }
            }

            /// The long form in the RFC's spelling; of [`HeaderName::Extension`], the empty string.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $canonical,)*
                    Self::Extension => "",
                }
            }
        }

        #[cfg(test)]
        const ALL: &[HeaderName] = &[$(HeaderName::$variant),*];
    };
}

names! {
    Accept "Accept" b"accept";
    AcceptEncoding "Accept-Encoding" b"accept-encoding";
    AcceptLanguage "Accept-Language" b"accept-language";
    AlertInfo "Alert-Info" b"alert-info";
    Allow "Allow" b"allow";
    AllowEvents "Allow-Events" b"allow-events" | b"u";
    AuthenticationInfo "Authentication-Info" b"authentication-info";
    Authorization "Authorization" b"authorization";
    CallId "Call-ID" b"call-id" | b"i";
    CallInfo "Call-Info" b"call-info";
    Contact "Contact" b"contact" | b"m";
    ContentDisposition "Content-Disposition" b"content-disposition";
    ContentEncoding "Content-Encoding" b"content-encoding" | b"e";
    ContentLanguage "Content-Language" b"content-language";
    ContentLength "Content-Length" b"content-length" | b"l";
    ContentType "Content-Type" b"content-type" | b"c";
    CSeq "CSeq" b"cseq";
    Date "Date" b"date";
    Diversion "Diversion" b"diversion";
    ErrorInfo "Error-Info" b"error-info";
    Event "Event" b"event" | b"o";
    Expires "Expires" b"expires";
    From "From" b"from" | b"f";
    HistoryInfo "History-Info" b"history-info";
    Identity "Identity" b"identity" | b"y";
    MaxForwards "Max-Forwards" b"max-forwards";
    MimeVersion "MIME-Version" b"mime-version";
    MinExpires "Min-Expires" b"min-expires";
    MinSe "Min-SE" b"min-se";
    Organization "Organization" b"organization";
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity";
    Path "Path" b"path";
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity";
    Priority "Priority" b"priority";
    Privacy "Privacy" b"privacy";
    ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate";
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization";
    ProxyRequire "Proxy-Require" b"proxy-require";
    RAck "RAck" b"rack";
    Reason "Reason" b"reason";
    RecordRoute "Record-Route" b"record-route";
    ReferredBy "Referred-By" b"referred-by" | b"b";
    ReferSub "Refer-Sub" b"refer-sub";
    ReferTo "Refer-To" b"refer-to" | b"r";
    RemotePartyId "Remote-Party-ID" b"remote-party-id";
    Replaces "Replaces" b"replaces";
    Require "Require" b"require";
    RetryAfter "Retry-After" b"retry-after";
    Route "Route" b"route";
    RSeq "RSeq" b"rseq";
    Server "Server" b"server";
    ServiceRoute "Service-Route" b"service-route";
    SessionExpires "Session-Expires" b"session-expires" | b"x";
    Subject "Subject" b"subject" | b"s";
    SubscriptionState "Subscription-State" b"subscription-state";
    Supported "Supported" b"supported" | b"k";
    Timestamp "Timestamp" b"timestamp";
    To "To" b"to" | b"t";
    Unsupported "Unsupported" b"unsupported";
    UserAgent "User-Agent" b"user-agent";
    UserToUser "User-to-User" b"user-to-user";
    Via "Via" b"via" | b"v";
    Warning "Warning" b"warning";
    WwwAuthenticate "WWW-Authenticate" b"www-authenticate";
}

impl HeaderName {
    /// Whether a message carries this field at most once, with one value (RFC 3261 §7.3.1: only fields whose
    /// grammar is a comma list may repeat). A second one is how header smuggling starts, so it is refused.
    #[must_use]
    pub fn is_single(self) -> bool {
        matches!(
            self,
            Self::CallId
                | Self::ContentDisposition
                | Self::ContentLength
                | Self::ContentType
                | Self::CSeq
                | Self::Date
                | Self::Event
                | Self::Expires
                | Self::From
                | Self::MaxForwards
                | Self::MimeVersion
                | Self::MinExpires
                | Self::MinSe
                | Self::RAck
                | Self::ReferredBy
                | Self::ReferTo
                | Self::Replaces
                | Self::RetryAfter
                | Self::RSeq
                | Self::SessionExpires
                | Self::SubscriptionState
                | Self::Timestamp
                | Self::To
        )
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Extension { "an extension header" } else { self.as_str() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in ALL {
            assert_eq!(HeaderName::parse(name.as_str().as_bytes()), *name);
            assert_eq!(HeaderName::parse(name.as_str().to_uppercase().as_bytes()), *name);
            assert_eq!(HeaderName::parse(name.as_str().to_lowercase().as_bytes()), *name);
        }
        assert_eq!(HeaderName::parse(b"X-Whatever"), HeaderName::Extension);
        assert_eq!(HeaderName::parse(&[b'v'; 200]), HeaderName::Extension);
        assert_eq!(HeaderName::parse(b""), HeaderName::Extension);
    }

    #[test]
    fn compact_forms_mean_their_long_forms() {
        for (compact, name) in [
            (b"v", HeaderName::Via),
            (b"F", HeaderName::From),
            (b"t", HeaderName::To),
            (b"I", HeaderName::CallId),
            (b"m", HeaderName::Contact),
            (b"l", HeaderName::ContentLength),
            (b"c", HeaderName::ContentType),
            (b"r", HeaderName::ReferTo),
            (b"b", HeaderName::ReferredBy),
            (b"x", HeaderName::SessionExpires),
            (b"k", HeaderName::Supported),
            (b"o", HeaderName::Event),
        ] {
            assert_eq!(HeaderName::parse(compact), name);
        }
    }
}
