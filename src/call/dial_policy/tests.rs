use super::*;

const HOSTS: [&str; 2] = ["pbx.example.com", "192.0.2.7"];

fn approve_with(prefixes: &[&str], text: &str) -> Result<String, DialRefusal> {
    let allowed: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
    let hosts = HOSTS.map(str::to_owned);
    let approved = DialPolicy { allowed_prefixes: &allowed, hosts: &hosts }.approve(text)?;
    match approved.callee() {
        Callee::Number(number) => Ok(number.clone()),
        Callee::Address(uri) => panic!("an address was approved: {uri}"),
    }
}

/// The policy that the tricks try to get around: two-digit extensions, one country, national numbers.
fn approve(text: &str) -> Result<String, DialRefusal> {
    approve_with(&["2", "+4930", "0"], text)
}

#[test]
fn plain_numbers_with_an_allowed_beginning_pass_in_every_plain_form() {
    for (text, number) in [
        ("20", "20"),
        ("+4930123456", "+4930123456"),
        ("030123456", "030123456"),
        ("tel:+4930123456", "+4930123456"),
        ("sip:20@pbx.example.com", "20"),
        ("sip:20@PBX.Example.COM", "20"),
        ("sip:+4930123456@192.0.2.7", "+4930123456"),
        ("sip:+4930123456@192.0.2.7;user=phone", "+4930123456"),
        ("sip:20@192.0.2.7:5060", "20"),
        ("sips:20@pbx.example.com", "20"),
    ] {
        assert_eq!(approve(text).as_deref(), Ok(number), "{text}");
    }
}

#[test]
fn by_default_nothing_may_be_dialled() {
    for text in ["20", "+4930123456", "tel:20", "sip:20@pbx.example.com"] {
        assert_eq!(approve_with(&[], text), Err(DialRefusal::NotAllowed), "{text}");
        assert_eq!(approve_with(&[""], text), Err(DialRefusal::NotAllowed), "an empty prefix is no prefix: {text}");
    }
}

#[test]
fn a_national_prefix_does_not_open_the_world_and_an_international_one_is_taken_literally() {
    assert_eq!(approve_with(&["0"], "0044900123456"), Err(DialRefusal::NotAllowed));
    assert_eq!(approve_with(&["0"], "01144900123456"), Err(DialRefusal::NotAllowed));
    assert_eq!(approve_with(&["0044"], "0044900123456").as_deref(), Ok("0044900123456"));
    assert_eq!(approve_with(&["00"], "0044900123456").as_deref(), Ok("0044900123456"));
    assert_eq!(approve_with(&["+44"], "0044900123456"), Err(DialRefusal::NotAllowed));
}

/// Numbers that the policy of [`approve`] must not let through, plain.
const EXPENSIVE: [&str; 6] =
    ["+44900123456", "0044900123456", "01144900123456", "900123456", "+882131234567", "118118"];

/// Ways to write a number so that a careless reader takes it for an allowed one.
fn disguises(number: &str) -> Vec<String> {
    let digits = number.trim_start_matches('+');
    let wide: String = digits.chars().map(|c| char::from_u32(c as u32 - 0x30 + 0xFF10).unwrap()).collect();
    let arabic: String = digits.chars().map(|c| char::from_u32(c as u32 - 0x30 + 0x0660).unwrap()).collect();
    let escaped: String = digits.bytes().map(|b| format!("%{b:02X}")).collect();
    let host = "pbx.example.com";
    vec![
        number.to_owned(),
        format!("tel:{number}"),
        format!("TEL:{number}"),
        format!("sip:{number}@{host}"),
        format!("sips:{number}@{host}"),
        format!("sip:{number}@{host};user=phone"),
        format!("%2b{digits}"),
        format!("sip:%2b{digits}@{host}"),
        format!("sip:{escaped}@{host}"),
        format!("tel:{escaped}"),
        wide.clone(),
        format!("tel:{wide}"),
        format!("sip:{wide}@{host}"),
        arabic.clone(),
        format!("sip:{arabic}@{host}"),
        format!("20,{digits}"),
        format!("20;{digits}"),
        format!("20p{digits}"),
        format!("20w{digits}"),
        format!("20#{digits}"),
        format!("*21*{digits}#"),
        format!("**21*{digits}#"),
        format!("*72{digits}"),
        format!("20*{digits}"),
        format!("20 {digits}"),
        format!(" {number}"),
        format!("\t{number}"),
        format!("20\r\n{digits}"),
        format!("20\0{digits}"),
        format!("20&{digits}"),
        format!("20@{host},{digits}"),
        format!("20 / {digits}"),
        format!("20|{digits}"),
        format!("tel:20;phone-context=+{digits}"),
        format!("tel:{digits};phone-context=pbx.example.com"),
        format!("tel:20;ext={digits}"),
        format!("tel:20;isub={digits}"),
        format!("tel:20;postd=p{digits}"),
        format!("tel:20;tgrp={digits};trunk-context={host}"),
        format!("tel:+49-30-20,{digits}"),
        format!("sip:20;phone-context=+{digits}@{host}"),
        format!("sip:20;postd=p{digits}@{host}"),
        format!("sip:20;npdi;rn=+{digits}@{host}"),
        format!("sip:20:{digits}@{host}"),
        format!("sip:{number}@evil.example"),
        format!("sip:20@evil.example;maddr={host}"),
        format!("sip:20@{host};maddr=evil.example"),
        format!("sip:20@{host};transport=tcp;lr"),
        format!("sip:20@{host};method=INVITE"),
        format!("sip:20@{host}?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2"),
        format!("sip:20@{host}?Route=%3Csip:evil.example%3Blr%3E"),
        format!("sip:20@{host}?To=sip:{digits}@{host}"),
        format!("sip:20@{host}?"),
        format!("sip:20@{host}?P-Asserted-Identity=sip:1@{host}"),
        format!("sip:20%40{host}@evil.example"),
        format!("sip:20@evil.example@{host}"),
        format!("sip:20@{host}.evil.example"),
        format!("sip:20@evil-{host}"),
        format!("sip:20@[::ffff:192.0.2.8]"),
        format!("sip:20@192.0.2.70"),
        format!("sip:20@0300.0.2.7"),
        format!("sip:{host}"),
        format!("sip:@{host}"),
        format!("sip:anna@{host}"),
        format!("sip:20,{digits}@{host}"),
        format!("sip:20&{digits}@{host}"),
        format!("sip:*21*{digits}%23@{host}"),
        format!("<sip:20@{host}>,<sip:{digits}@{host}>"),
        format!("\"20\" <sip:{digits}@{host}>"),
        format!("http://{host}/{digits}"),
        format!("file:{digits}"),
        format!("urn:service:sos"),
        format!("callto:{digits}"),
        format!("SIP/trunk/{digits}"),
        format!("PJSIP/{digits}@carrier"),
        format!("Local/{digits}@from-internal"),
        format!("sofia/gateway/carrier/{digits}"),
        format!("20\u{200B}{digits}"),
        format!("2\u{200D}0{digits}"),
        format!("\u{202E}{digits}"),
        format!("+{number}"),
        format!("++{digits}"),
        format!("+ {digits}"),
        format!("-20{digits}"),
        format!("2e9"),
        format!("0x{digits}"),
        format!("20{}", digits.repeat(3)),
        String::new(),
        "+".to_owned(),
        ":".to_owned(),
        "tel:".to_owned(),
    ]
}

#[test]
fn no_trick_gets_an_expensive_number_through() {
    let tricks: std::collections::BTreeSet<String> = EXPENSIVE.iter().flat_map(|number| disguises(number)).collect();
    assert!(tricks.len() >= 200, "only {} tricks", tricks.len());
    let passed: Vec<_> = tricks.iter().filter(|text| approve(text).is_ok()).collect();
    assert!(passed.is_empty(), "{passed:#?}");
}

#[test]
fn the_operator_s_word_passes_and_nonsense_is_explained() {
    let callee = |text: &str| Approved::by_operator(text).map(|approved| approved.callee().clone());
    assert_eq!(callee("600"), Ok(Callee::Number("600".into())));
    assert_eq!(callee("*43"), Ok(Callee::Number("*43".into())));
    assert_eq!(callee("+49 (30) 123-456"), Ok(Callee::Number("+4930123456".into())));
    assert_eq!(callee("tel:+15550134"), Ok(Callee::Number("+15550134".into())));
    for text in ["sip:anna@192.0.2.7", "anna@192.0.2.7"] {
        let Ok(Callee::Address(uri)) = callee(text) else { panic!("{text}") };
        assert_eq!(uri.as_str(), "sip:anna@192.0.2.7");
    }
    for text in ["", "anna", "http://x", "sip:", "+"] {
        assert!(callee(text).is_err(), "{text}");
    }
}

#[test]
fn whatever_is_approved_is_a_plain_number_with_an_allowed_beginning() {
    let mut random = crate::base::Random::seeded(8);
    let alphabet = [
        "+",
        "0",
        "1",
        "2",
        "9",
        "49",
        "30",
        "*",
        "#",
        ";",
        "?",
        "@",
        ":",
        "%2B",
        ",",
        "sip:",
        "tel:",
        "pbx.example.com",
        " ",
    ];
    let mut approved = 0;
    for _ in 0..50_000 {
        let length = 1 + random.below(7);
        let text: String = (0..length).map(|_| alphabet[random.below(alphabet.len() as u64) as usize]).collect();
        let Ok(number) = approve(&text) else { continue };
        approved += 1;
        assert!(number.strip_prefix('+').unwrap_or(&number).bytes().all(|b| b.is_ascii_digit()), "{text}");
        assert!(["2", "+4930", "0"].iter().any(|p| number.starts_with(p)) && !number.starts_with("00"), "{text}");
    }
    assert!(approved > 500, "only {approved} were approved");
}
