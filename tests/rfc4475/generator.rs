//! Writes the messages that RFC 4475 describes, each from a plain message and what its section makes unusual.

/// One torture message.
pub struct Torture {
    /// The name the RFC gives it.
    pub name: &'static str,
    /// Its section.
    pub section: &'static str,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// A message in the making: a start line, named lines in order, a body.
struct Draft {
    start: Vec<u8>,
    lines: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    fixed_length: bool,
}

const SDP: &str = "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n\
    m=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n";

impl Draft {
    /// A message with the six mandatory fields, its Call-ID beginning with the test's name.
    fn new(name: &str, start: impl AsRef<[u8]>, cseq: &str) -> Self {
        let plain = [
            ("To", "sip:user@example.com".to_owned()),
            ("From", "sip:caller@example.net;tag=33242".to_owned()),
            ("Max-Forwards", "70".to_owned()),
            ("Call-ID", format!("{name}.0ha0isnda977644900765@192.0.2.15")),
            ("CSeq", cseq.to_owned()),
            ("Via", format!("SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdju{name}")),
        ];
        let lines = plain.into_iter().map(|(n, v)| (n.to_owned(), v.into_bytes())).collect();
        Self { start: start.as_ref().to_vec(), lines, body: Vec::new(), fixed_length: false }
    }

    /// Replaces the value of a field, or adds it.
    fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        match self.lines.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.lines.push((name.to_owned(), value)),
        }
        self
    }

    /// Adds a field, even a second of that name.
    fn add(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.lines.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Takes a field out.
    fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(n, _)| n != name);
        self
    }

    /// Respells a field's name.
    fn spelled(mut self, name: &str, spelling: &str) -> Self {
        for (n, _) in &mut self.lines {
            if n == name {
                *n = spelling.to_owned();
            }
        }
        self
    }

    fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    fn sdp(self) -> Self {
        self.set("Contact", "<sip:caller@host5.example.net>").add("Content-Type", "application/sdp").body(SDP)
    }

    /// The wire form takes Content-Length as the draft has it, present or not.
    fn length_as_is(mut self) -> Self {
        self.fixed_length = true;
        self
    }

    fn wire(mut self) -> Vec<u8> {
        if !self.fixed_length {
            self.lines.push(("Content-Length".to_owned(), self.body.len().to_string().into_bytes()));
        }
        let mut out = [&self.start[..], b"\r\n"].concat();
        for (name, value) in &self.lines {
            // A name that ends in blanks or a colon of its own is written as it stands.
            let colon: &[u8] = if name.ends_with(':') { b"" } else { b": " };
            out.extend([name.as_bytes(), colon, value, b"\r\n"].concat());
        }
        out.extend(b"\r\n");
        out.extend(self.body);
        out
    }
}

fn options(name: &str, uri: &str) -> Draft {
    Draft::new(name, format!("OPTIONS {uri} SIP/2.0"), "8 OPTIONS").set("Accept", "application/sdp")
}

fn invite(name: &str) -> Draft {
    Draft::new(name, "INVITE sip:user@example.com SIP/2.0", "8 INVITE").sdp()
}

fn register(name: &str) -> Draft {
    Draft::new(name, "REGISTER sip:example.com SIP/2.0", "8 REGISTER")
}

fn response(name: &str, start: impl AsRef<[u8]>) -> Draft {
    Draft::new(name, start, "35 INVITE").without("Max-Forwards").set("To", "<sip:user@example.com>;tag=1q2w3e4r")
}

/// §3.1.1: messages that are well formed, however unusual.
fn valid() -> Vec<(&'static str, &'static str, Draft)> {
    // Every line folded where folding is allowed, blanks around every separator, leading zeros, mixed case.
    let wsinv = Draft::new("wsinv", "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0", "0009\r\n  INVITE")
        .set("To", "\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n")
        .set("From", "\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8")
        .set("Max-Forwards", "0068")
        .set("Via", "SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw")
        .add("s :", "")
        .add("NewFangledHeader", "  newfangled value\r\n continued newfangled value")
        .add("UnknownHeaderWithUnusualValue", ";;,,;;,;")
        .add("Content-Type", "application/sdp")
        .add("Route:", "\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>")
        .add("v", " SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239")
        .add("m:", "\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33")
        .add("Content-Length   :", " 150")
        .spelled("To", "TO :")
        .spelled("From", "from   :")
        .spelled("Max-Forwards", "MaX-fOrWaRdS")
        .spelled("CSeq", "cseq")
        .spelled("Via", "Via  :")
        .body(SDP)
        .length_as_is();

    // Every odd character that each element may hold, quoted control bytes, UTF-8 outside ASCII.
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let user = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*";
    let intmeth = Draft::new("intmeth", format!("{method} sip:{user}:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0"), &format!("139122385 {method}"))
        .set("Via", "SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~")
        .set("To", format!("\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:{user}@example.com>"))
        .set("From", "token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\u{43e}\u{442}\u{430}\u{44e}\u{449}\u{438}\u{439}\";tag=_token~1'+`*%!-.")
        .set("Call-ID", "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
        .set("Max-Forwards", "255")
        .add("extensionHeader-!.%*+_`'~", "\u{feff}\u{5927}\u{505c}\u{96fb}");

    let esc01 = Draft::new("esc01", "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", "234234 INVITE")
        .sdp()
        .set("To", "sip:%75se%72@example.com")
        .set("From", "<sip:I%20have%20spaces@example.net>;tag=938")
        .set("Contact", "<sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>");
    let escnull = register("escnull")
        .set("To", "sip:null-%00-null@example.com")
        .set("From", "sip:null-%00-null@example.com;tag=839923423")
        .add("Contact", "<sip:%00@host5.example.com>")
        .add("Contact", "<sip:%00%00@host5.example.com>");
    // Escapes mean nothing in a method, so this is neither REGISTER nor a known method; `%Z%45` in quotes is text.
    let esc02 = Draft::new("esc02", "RE%47IST%45R sip:registrar.example.com SIP/2.0", "29344 RE%47IST%45R")
        .set("To", "\"%Z%45\" <sip:resource@example.com>")
        .set("From", "\"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23")
        .add("Contact", "<sip:alias1@host1.example.com>")
        .add("Contact", "<sip:alias2@host2.example.com>");
    let lwsdisp = options("lwsdisp", "sip:user@example.com").set("From", "caller<sip:caller@example.com>;tag=323");

    let long = |word: &str, times: usize| word.repeat(times);
    let mut longreq = invite("longreq")
        .set("To", format!("\"I have a user name of {} proportion\"<sip:user@example.com:6000;unknownparam1=very{}value;longparam{}=shortvalue;very{}ParameterNameWithNoValue>", long("extreme", 10), long("long", 20), long("name", 25), long("long", 25)))
        .set("From", format!("sip:{}@example.net;tag=12{}424;unknownheaderparam{}=unknowheaderparam{};unknownValueless{}", long("amazinglylongcallername", 5), long("982", 50), long("name", 20), long("value", 15), long("paramname", 10)))
        .spelled("From", "F")
        .set("Call-ID", format!("longreq.one{}longcallid", long("really", 20)))
        .add(&format!("Unknown-{}-Name", long("Long", 20)), format!("unknown-{0}-value; unknown-{0}-parameter-name = unknown-{0}-parameter-value", long("long", 20)))
        .without("Via");
    for (i, spelling) in
        ["Via", "v", "V", "ViA", "VIa", "VIA", "via", "V :", "v  :"].iter().cycle().take(33).enumerate()
    {
        longreq = longreq.add(spelling, format!("SIP/2.0/TCP sip{}.example.com", 33 - i));
    }
    let longreq = longreq
        .add(
            "Via",
            format!("SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=very{}branchvalue", long("long", 50)),
        )
        .set("Contact", format!("<sip:{}@host5.example.net>", long("amazinglylongcallername", 5)));

    let mut dblreq =
        register("dblreq").set("To", "sip:j.user@example.com").set("From", "sip:j.user@example.com;tag=43251j3j324");
    let trailing = invite("dblreq2").wire();
    dblreq = dblreq.add("Content-Length", "0").length_as_is().body([b"\r\n\r\n", &trailing[..]].concat());

    let semiuri = options("semiuri", "sip:user;par=u%40example.net@example.com").set("To", "sip:j_user@example.com");
    let mut transports = options("transports", "sip:user@example.com").without("Via");
    for (transport, branch) in
        [("UDP", "kdjuw"), ("SCTP", "kwlks"), ("TLS", "0230"), ("UNKNOWN", "aabbcc"), ("TCP", "23345")]
    {
        transports = transports.add("Via", format!("SIP/2.0/{transport} t{branch}.example.com;branch=z9hG4bK{branch}"));
    }
    // A binary part: bytes that are no UTF-8, lone CR and LF, NUL.
    let binary: Vec<u8> = (0..=255u8).chain([0, b'\r', 0, b'\n', 0xff]).collect();
    let parts = [
        b"--7a9cbec02ceef655\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\nHello\r\n--7a9cbec02ceef655\r\n\
          Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            .as_slice(),
        &binary,
        b"\r\n--7a9cbec02ceef655--",
    ];
    let mpart01 = Draft::new("mpart01", "MESSAGE sip:kumiko@example.org SIP/2.0", "127753 MESSAGE")
        .add("Content-Type", "multipart/mixed;boundary=7a9cbec02ceef655")
        .add("MIME-Version", "1.0")
        .body(parts.concat());
    let unreason = response(
        "unreason",
        "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{43d}\u{43e}\u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{442}\u{44c} - \u{43f}\u{440}\u{43e}\u{441}\u{442}\u{43e}e",
    );
    let noreason = response("noreason", "SIP/2.0 100 ");
    vec![
        ("wsinv", "3.1.1.1", wsinv),
        ("intmeth", "3.1.1.2", intmeth),
        ("esc01", "3.1.1.3", esc01),
        ("escnull", "3.1.1.4", escnull),
        ("esc02", "3.1.1.5", esc02),
        ("lwsdisp", "3.1.1.6", lwsdisp),
        ("longreq", "3.1.1.7", longreq),
        ("dblreq", "3.1.1.8", dblreq),
        ("semiuri", "3.1.1.9", semiuri),
        ("transports", "3.1.1.10", transports),
        ("mpart01", "3.1.1.11", mpart01),
        ("unreason", "3.1.1.12", unreason),
        ("noreason", "3.1.1.13", noreason),
    ]
}

/// §3.1.2: messages that break the grammar.
fn invalid() -> Vec<(&'static str, &'static str, Draft)> {
    let start = |name, line: &str| Draft::new(name, line, "8 INVITE").sdp();
    vec![
        (
            "badinv01",
            "3.1.2.1",
            invite("badinv01")
                .set("Via", "SIP/2.0/UDP 192.0.2.15;;,;,,")
                .set("Contact", "\"Joe\" <sip:joe@example.org>;;;;;"),
        ),
        ("clerr", "3.1.2.2", invite("clerr").add("Content-Length", "9999").length_as_is()),
        ("ncl", "3.1.2.3", invite("ncl").add("Content-Length", "-999").length_as_is()),
        (
            "scalar02",
            "3.1.2.4",
            register("scalar02")
                .set("CSeq", "36893488147419103232 REGISTER")
                .set("Max-Forwards", "300")
                .add("Expires", "10000000000000000000000000000000000000000000000000")
                .add("Contact", "<sip:user@host129.example.com>;expires=280297596632815"),
        ),
        (
            "scalarlg",
            "3.1.2.5",
            response("scalarlg", "SIP/2.0 503 Service Unavailable")
                .set("CSeq", "9292394834772304023312 OPTIONS")
                .add("Retry-After", "949302838503028349304023988")
                .add("Warning", "1812 overture \"In Progress\""),
        ),
        ("quotbal", "3.1.2.6", invite("quotbal").set("To", "\"Mr. J. User <sip:j.user@example.com>")),
        ("ltgtruri", "3.1.2.7", start("ltgtruri", "INVITE <sip:user@example.com> SIP/2.0")),
        ("lwsruri", "3.1.2.8", start("lwsruri", "INVITE sip:user@example.com; lr SIP/2.0")),
        ("lwsstart", "3.1.2.9", start("lwsstart", "INVITE  sip:user@example.com  SIP/2.0")),
        ("trws", "3.1.2.10", Draft::new("trws", "OPTIONS sip:remote-target@example.com SIP/2.0  ", "18 OPTIONS")),
        ("escruri", "3.1.2.11", start("escruri", "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0")),
        ("baddate", "3.1.2.12", invite("baddate").add("Date", "Fri, 01 Jan 2010 16:00:00 EST")),
        (
            "regbadct",
            "3.1.2.13",
            register("regbadct").add("Contact", "sip:user@example.com?Route=%3Csip:sip.example.com%3E"),
        ),
        (
            "badaspec",
            "3.1.2.14",
            options("badaspec", "sip:user@example.org").set("To", "\"Watson, Thomas\" < sip:t.watson@example.org >"),
        ),
        (
            "baddn",
            "3.1.2.15",
            options("baddn", "sip:t.watson@example.org")
                .set("From", "Bell, Alexander <sip:a.g.bell@example.com>;tag=43")
                .set("To", "Watson, Thomas <sip:t.watson@example.org>"),
        ),
        (
            "badvers",
            "3.1.2.16",
            Draft::new("badvers", "OPTIONS sip:t.watson@example.org SIP/7.0", "4 OPTIONS")
                .set("Via", "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw"),
        ),
        ("mismatch01", "3.1.2.17", options("mismatch01", "sip:user@example.com").set("CSeq", "8 INVITE")),
        (
            "mismatch02",
            "3.1.2.18",
            Draft::new("mismatch02", "NEWMETHOD sip:user@example.com SIP/2.0", "8 INVITE").sdp(),
        ),
        ("bigcode", "3.1.2.19", response("bigcode", "SIP/2.0 4294967301 better not break the receiver")),
    ]
}

/// §3.2 to §3.4: messages whose trouble lies above the grammar.
fn semantic() -> Vec<(&'static str, &'static str, Draft)> {
    let insuf =
        ["To", "From", "Call-ID", "Max-Forwards"].iter().fold(invite("insuf"), |draft, field| draft.without(field));
    vec![
        (
            "badbranch",
            "3.2.1",
            options("badbranch", "sip:user@example.com").set("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"),
        ),
        ("insuf", "3.3.1", insuf),
        ("unkscm", "3.3.2", options("unkscm", "nobodyKnowsThisScheme:totallyopaquecontent")),
        ("novelsc", "3.3.3", options("novelsc", "soap.beep://192.0.2.103:3002")),
        (
            "unksm2",
            "3.3.4",
            register("unksm2")
                .set("To", "isbn:2983792873")
                .set("From", "<http://www.example.com>;tag=3234233")
                .add("Contact", "<name:John_Smith>"),
        ),
        (
            "bext01",
            "3.3.5",
            options("bext01", "sip:user@example.com")
                .add("Require", "nothingSupportsThis, nothingSupportsThisEither")
                .add("Proxy-Require", "noProxiesSupportThis, norDoAnyProxiesSupportThis"),
        ),
        (
            "invut",
            "3.3.6",
            invite("invut")
                .set("Content-Type", "application/unknownformat")
                .body("<audio>\r\n <pcmu port=\"443\"/>\r\n</audio>\r\n"),
        ),
        (
            "regaut01",
            "3.3.7",
            register("regaut01")
                .add("Contact", "<sip:j.user@host.example.com>")
                .add("Authorization", "NoOneKnowsThisScheme opaque-data=here"),
        ),
        (
            "multi01",
            "3.3.8",
            invite("multi01")
                .add("CSeq", "59 INVITE")
                .add("Call-ID", "multi01.98asdh@192.0.2.2")
                .add("Max-Forwards", "5")
                .add("From", "sip:other@example.net;tag=3413415")
                .add("To", "sip:other@example.com"),
        ),
        (
            "mcl01",
            "3.3.9",
            options("mcl01", "sip:user@example.com")
                .add("Content-Length", "13")
                .add("Content-Length", "5")
                .body("There's no way to know how many octets are supposed to be here.\r\n")
                .length_as_is(),
        ),
        (
            "bcast",
            "3.3.10",
            response("bcast", "SIP/2.0 200 OK")
                .set("Via", "SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923")
                .add("Via", "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23")
                .sdp(),
        ),
        ("zeromf", "3.3.11", options("zeromf", "sip:user@example.com").set("Max-Forwards", "0")),
        ("cparam01", "3.3.12", register("cparam01").add("Contact", "sip:+19725552222@gw1.example.net;unknownparam")),
        ("cparam02", "3.3.13", register("cparam02").add("Contact", "<sip:+19725552222@gw1.example.net;unknownparam>")),
        (
            "regescrt",
            "3.3.14",
            register("regescrt").add("Contact", "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
        ),
        ("sdp01", "3.3.15", invite("sdp01").add("Accept", "text/nobodyKnowsThis")),
        (
            "inv2543",
            "3.4.1",
            Draft::new("inv2543", "INVITE sip:UserB@example.com SIP/2.0", "56 INVITE")
                .set("Via", "SIP/2.0/UDP iftgw.example.com")
                .add("Record-Route", "<sip:UserB@example.com;maddr=ss1.example.com>")
                .add("Content-Type", "application/sdp")
                .without("Max-Forwards")
                .body(SDP)
                .length_as_is(),
        ),
    ]
}

/// All 49 messages in the order of the RFC.
pub fn all() -> Vec<Torture> {
    let drafts = valid().into_iter().chain(invalid()).chain(semantic());
    drafts.map(|(name, section, draft)| Torture { name, section, bytes: draft.wire() }).collect()
}

/// The messages about IPv6 that RFC 5118 §4 describes, named as there.
pub fn ipv6() -> Vec<Torture> {
    let plain = |name: &str, uri: &str| {
        Draft::new(name, format!("REGISTER {uri} SIP/2.0"), "98176 REGISTER")
            .set("Via", "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111")
            .set("From", "sip:user@example.com;tag=81x2")
            .set("Contact", "\"Caller\" <sip:caller@[2001:db8::1]>")
    };
    let via = |received: &str| {
        Draft::new("via", "BYE sip:user@example.com SIP/2.0", "487 BYE")
            .set("Via", format!("SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111"))
    };
    let with_sdp = |name: &str, sdp: &str| {
        Draft::new(name, "INVITE sip:user@[2001:db8::10] SIP/2.0", "8612 INVITE")
            .set("Contact", "<sip:caller@[2001:db8::20]>")
            .add("Content-Type", "application/sdp")
            .body(sdp)
    };
    let drafts = [
        ("ipv6-good", "4.1", plain("ipv6-good", "sip:[2001:db8::10]")),
        ("ipv6-bad", "4.2", plain("ipv6-bad", "sip:2001:db8::10")),
        ("port-ambiguous", "4.3", plain("port-ambiguous", "sip:[2001:db8::10:5070]")),
        ("port-unambiguous", "4.4", plain("port-unambiguous", "sip:[2001:db8::10]:5070")),
        ("via-received-param-with-delim", "4.5", via("[2001:db8::9:255]")),
        ("via-received-param-no-delim", "4.5", via("2001:db8::9:255")),
        (
            "ipv6-in-sdp",
            "4.6",
            with_sdp(
                "ipv6-in-sdp",
                "v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\nt=0 0\r\nm=audio 6000 RTP/AVP 2\r\n",
            ),
        ),
        (
            "mult-ip-in-header",
            "4.7",
            plain("mult-ip-in-header", "sip:example.com")
                .add("Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKas3")
                .add("Via", "SIP/2.0/TCP [2001:db8::9:7];branch=z9hG4bKas4"),
        ),
        (
            "mult-ip-in-sdp",
            "4.8",
            with_sdp(
                "mult-ip-in-sdp",
                "v=0\r\no=bob 280744730 28977631 IN IP4 host.example.com\r\ns=-\r\nt=0 0\r\nm=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\nm=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\n",
            ),
        ),
        (
            "ipv4-mapped-ipv6",
            "4.9",
            with_sdp("ipv4-mapped-ipv6", "v=0\r\n")
                .set("Via", "SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19")
                .set("Contact", "\"T. desk phone\" <sip:ted@[::ffff:192.0.2.2]>"),
        ),
        ("ipv6-bug-abnf-3-colons", "4.10", plain("ipv6-bug-abnf-3-colons", "sip:user@[2001:db8:::192.0.2.1]")),
        ("ipv6-correct-abnf-2-colons", "4.10", plain("ipv6-correct-abnf-2-colons", "sip:user@[2001:db8::192.0.2.1]")),
    ];
    drafts.into_iter().map(|(name, section, draft)| Torture { name, section, bytes: draft.wire() }).collect()
}
