//! Models are shown by the names that people call them. The list was decided by what makers publish.

mod named;

use named::{Row, answers, rows};
use qsessions_user_agent::{ClientHints, parse, parse_with_hints};

/// Models in the list.
const MODELS: usize = 140;

#[test]
fn each_model_of_the_list_has_its_name_maker_and_category() {
    let rows = rows();
    assert!(rows.len() >= MODELS, "{} models", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| answers(row.model) != row.right)
        .map(|row| {
            format!(
                "{}: {:?}, not {:?}",
                row.model,
                answers(row.model),
                row.right
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_model_in_client_hints_has_the_same_name() {
    let reduced = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                   Chrome/131.0.0.0 Mobile Safari/537.36";
    for Row { model, right } in rows() {
        let mut hints = ClientHints::default();
        let quoted = format!("\"{model}\"");
        hints.add("sec-ch-ua-platform", "\"Android\"");
        hints.add("sec-ch-ua-model", &quoted);
        let parsed = parse_with_hints(reduced, &hints);
        assert_eq!(
            parsed.device_name().as_deref(),
            Some(right[0].as_str()),
            "{model}"
        );
    }
}

#[test]
fn apples_identifiers_are_named() {
    for (identifier, family, name) in [
        ("iPhone12,1", "iPhone", "iPhone 11"),
        ("iPhone14,7", "iPhone", "iPhone 14"),
        ("iPad13,1", "iPad", "iPad Air (4th generation)"),
        ("iPhone99,9", "iPhone", "iPhone"),
    ] {
        for user_agent in [
            format!("Example/1.2 ({identifier}; iOS 17_5; en_US; scale=2.00)"),
            format!(
                "Mozilla/5.0 ({family}; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBDV/{identifier};FBMD/{family}]"
            ),
        ] {
            let parsed = parse(&user_agent);
            assert_eq!(parsed.device.as_deref(), Some(family), "{user_agent}");
            assert_eq!(parsed.device_name().as_deref(), Some(name), "{user_agent}");
        }
    }
}

#[test]
fn the_build_tells_honor_from_huawei() {
    let user_agent = "Mozilla/5.0 (Linux; U; Android 11; zh-cn; ZZZ-AL10 Build/HONORZZZ-AL10) \
                      AppleWebKit/537.36 (KHTML, like Gecko) Chrome/89.0 Mobile Safari/537.36";
    let parsed = parse(user_agent);
    assert_eq!(parsed.device_name().as_deref(), Some("Honor ZZZ-AL10"));
}
