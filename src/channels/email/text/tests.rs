//! HTML to text, and text where it is least expected.

use super::*;

#[test]
fn html_becomes_readable_lines() {
    let cases = [
        ("<p>one</p><p>two<br>three</p>", "one\ntwo\nthree"),
        ("a<br><br>b", "a\n\nb"),
        ("<ul><li>one</li><li>two</li></ul>after", "- one\n- two\nafter"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("&lt;b&gt; &amp;amp; &#1055;&#x43F; &nbsp;x &unknown; & y", "<b> &amp; Пп x &unknown; & y"),
        ("<style>p{}</style><script>if (a<b) {}</script>seen<!-- <p>not</p> -->", "seen"),
        ("<HEAD><TITLE>t</TITLE></HEAD><BODY>seen", "seen"),
        ("<head><meta><body>seen", "seen"),
        ("5 < 6 and <3", "5 < 6 and <3"),
        ("broken <a href=", "broken <a href="),
        ("a  \n\n b", "a b"),
    ];
    for (html, text) in cases {
        assert_eq!(tidy(&html_to_text(html)), text, "{html}");
    }
}

#[test]
fn hostile_html_takes_no_quadratic_time() {
    let begun = std::time::Instant::now();
    for html in ["<a", "<head>", "<style>", "<!--", "&amp", "</", "<title></"] {
        let _ = html_to_text(&html.repeat(200_000));
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "took {:?}", begun.elapsed());
}

#[test]
fn text_is_found_in_an_enclosed_message_when_there_is_no_other() {
    let data = b"From: a@b.example\nContent-Type: message/rfc822\n\nSubject: inner\n\nfound\n";
    assert_eq!(read(&Parts::of(data, &headers::of_mail(data))).text.as_deref(), Some("found"));
}

#[test]
fn control_characters_and_line_ends_are_tidied() {
    assert_eq!(tidy("a\u{0}\tb \r\nc\rd\u{1b}[0m\n\n"), "a\tb\nc\nd[0m");
}
