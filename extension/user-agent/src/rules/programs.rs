//! Browsers, apps, bots and tools.

use super::Version::{self, Absent, After, Here};
use crate::Category::{self, Bot, Mobile, Tool};
use crate::table::{Rule, Table};

/// A browser, an app, a bot or a tool.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    /// What the program tells of the machine, where it tells more than the system does.
    pub(crate) category: Option<Category>,
}

impl Rule<Program> {
    const fn version(mut self, version: Version) -> Self {
        self.value.version = version;
        self
    }

    const fn category(mut self, category: Category) -> Self {
        self.value.category = Some(category);
        self
    }
}

const fn program(marker: &'static str, name: &'static str) -> Rule<Program> {
    Rule {
        marker,
        value: Program {
            name,
            version: Here,
            category: None,
        },
    }
}

const fn bot(marker: &'static str, name: &'static str) -> Rule<Program> {
    Rule {
        marker,
        value: Program {
            name,
            version: Here,
            category: Some(Bot),
        },
    }
}

const fn tool(marker: &'static str, name: &'static str) -> Rule<Program> {
    Rule {
        marker,
        value: Program {
            name,
            version: Here,
            category: Some(Tool),
        },
    }
}

/// Programs by what gives them away.
pub(crate) static PROGRAMS: Table<Program, { RULES.len() }> = Table::new(RULES);

const RULES: &[Rule<Program>] = &[
    // Bots whose names no general rule finds: those with 'bot', 'spider' or 'crawler' in a word
    // of their own need no entry.
    bot("facebookexternalhit/", "facebookexternalhit"),
    bot("meta-externalagent/", "meta-externalagent"),
    bot("meta-externalfetcher/", "meta-externalfetcher"),
    bot("facebookcatalog/", "facebookcatalog"),
    bot("^WhatsApp/", "WhatsApp"),
    bot("ChatGPT-User/", "ChatGPT-User"),
    bot("Claude-User/", "Claude-User"),
    bot("Perplexity-User/", "Perplexity-User"),
    bot("MistralAI-User/", "MistralAI-User"),
    bot("anthropic-ai", "anthropic-ai"),
    bot("cohere-ai", "cohere-ai"),
    bot("GoogleOther", "GoogleOther"),
    bot("Google-InspectionTool/", "Google-InspectionTool"),
    bot("APIs-Google", "APIs-Google"),
    bot("Mediapartners-Google", "Mediapartners-Google"),
    bot("FeedFetcher-Google", "FeedFetcher-Google"),
    bot("Feedfetcher-Google", "FeedFetcher-Google"),
    bot("Google-Read-Aloud", "Google-Read-Aloud"),
    bot("Google-Site-Verification/", "Google-Site-Verification"),
    bot("Google Web Preview", "Google Web Preview"),
    bot("Chrome-Lighthouse", "Chrome-Lighthouse"),
    bot("BingPreview/", "BingPreview"),
    bot("Yahoo! Slurp", "Yahoo! Slurp").version(Absent),
    bot("Sogou web spider/", "Sogou web spider"),
    bot("Screaming Frog SEO Spider/", "Screaming Frog SEO Spider"),
    bot("ia_archiver", "ia_archiver"),
    bot("Yeti/", "Yeti"),
    bot("Qwantify/", "Qwantify"),
    bot("SkypeUriPreview", "SkypeUriPreview"),
    bot("vkShare", "vkShare"),
    bot("Embedly/", "Embedly"),
    bot("Iframely/", "Iframely"),
    bot("Feedly/", "Feedly"),
    bot("Pingdom.com_bot_version_", "Pingdom"),
    bot("StatusCake", "StatusCake"),
    bot("Site24x7", "Site24x7"),
    bot("NewRelicPinger/", "NewRelicPinger"),
    bot("DatadogSynthetics", "DatadogSynthetics"),
    bot("CensysInspect/", "CensysInspect"),
    bot("NetcraftSurveyAgent/", "NetcraftSurveyAgent"),
    bot("W3C_Validator/", "W3C_Validator"),
    bot("HeadlessChrome/", "HeadlessChrome"),
    bot("PhantomJS/", "PhantomJS"),
    // Tools and libraries.
    tool("^curl/", "curl"),
    tool("^libcurl/", "libcurl"),
    tool("^Wget/", "Wget"),
    tool("^Wget2/", "Wget2"),
    tool("^HTTPie/", "HTTPie"),
    tool("^python-requests/", "Python Requests"),
    tool("^python-httpx/", "Python HTTPX"),
    tool("aiohttp/", "aiohttp"),
    tool("^Python-urllib/", "Python urllib"),
    tool("^python-urllib3/", "Python urllib3"),
    tool("^Scrapy/", "Scrapy"),
    tool("^Go-http-client/", "Go-http-client"),
    tool("^okhttp/", "okhttp"),
    tool("^axios/", "axios"),
    tool("^node-fetch/", "node-fetch"),
    tool("^undici", "undici"),
    tool("^node", "Node.js"),
    tool("^PostmanRuntime/", "PostmanRuntime"),
    tool("^insomnia/", "Insomnia"),
    tool("^Apache-HttpClient/", "Apache-HttpClient"),
    tool("^Jakarta Commons-HttpClient/", "Apache-HttpClient"),
    tool("^Java-http-client/", "Java-http-client"),
    tool("^Java/", "Java"),
    tool("^Dart/", "Dart"),
    tool("^GuzzleHttp/", "GuzzleHttp"),
    tool("^libwww-perl/", "libwww-perl"),
    tool("^Faraday v", "Faraday"),
    tool("^Ruby", "Ruby"),
    tool("^Deno/", "Deno"),
    tool("^reqwest/", "reqwest"),
    tool("^RestSharp/", "RestSharp"),
    tool("^k6/", "k6"),
    tool("^ApacheBench/", "ApacheBench"),
    tool("WindowsPowerShell/", "PowerShell"),
    tool("PowerShell/", "PowerShell"),
    // Apps that show pages in a browser of their own.
    program("FBAN/Messenger", "Facebook Messenger").version(After("FBAV/")),
    program("FB_IAB/Orca", "Facebook Messenger").version(After("FBAV/")),
    program("FBAV/", "Facebook"),
    program("FBAN/", "Facebook").version(Absent),
    program("Instagram ", "Instagram"),
    program("Barcelona ", "Threads"),
    program("musical_ly", "TikTok").version(After("app_version/")),
    program("BytedanceWebview/", "TikTok").version(After("app_version/")),
    program("TikTok ", "TikTok"),
    program("Line/", "LINE"),
    program("MicroMessenger/", "WeChat"),
    program("Snapchat/", "Snapchat"),
    program("Snapchat ", "Snapchat"),
    program("Pinterest/", "Pinterest"),
    program("Twitter for iPhone/", "Twitter"),
    program("Twitter for iPad/", "Twitter"),
    program("Twitter for iPhone", "Twitter").version(Absent),
    program("TwitterAndroid", "Twitter").version(Absent),
    program("LinkedInApp", "LinkedIn").version(Absent),
    program("KAKAOTALK", "KakaoTalk"),
    program("NAVER(inapp", "NAVER").version(Absent),
    program("Telegram-Android/", "Telegram"),
    program("DingTalk/", "DingTalk"),
    program("AlipayClient/", "Alipay"),
    program("Reddit/", "Reddit"),
    program("GSA/", "Google App"),
    program("baiduboxapp/", "Baidu App"),
    program("Slack/", "Slack"),
    program("discord/", "Discord"),
    program("Teams/", "Microsoft Teams"),
    program("Code/", "Visual Studio Code"),
    program("Electron/", "Electron"),
    // Browsers with names of their own.
    program("PlayStation", "PlayStation Browser").version(Absent),
    program("PLAYSTATION", "PlayStation Browser").version(Absent),
    program("Edg/", "Edge"),
    program("EdgA/", "Edge"),
    program("EdgiOS/", "Edge"),
    program("Edge/", "Edge"),
    program("OPT/", "Opera Touch"),
    program("OPX/", "Opera GX"),
    program("OPRGX/", "Opera GX"),
    program("OPiOS/", "Opera Mini"),
    program("Opera Mini/", "Opera Mini").category(Mobile),
    program("Opera Mobi/", "Opera Mobile")
        .version(After("Version/"))
        .category(Mobile),
    program("OPR/", "Opera"),
    program("Opera/9.80", "Opera").version(After("Version/")),
    program("Opera/", "Opera"),
    program("Opera ", "Opera"),
    program("SamsungBrowser/", "Samsung Internet"),
    program("YaBrowser/", "Yandex Browser"),
    program("Vivaldi/", "Vivaldi"),
    program("Whale/", "Whale"),
    program("DuckDuckGo/", "DuckDuckGo"),
    program("Ddg/", "DuckDuckGo"),
    program("Brave/", "Brave"),
    program("Brave Chrome/", "Brave"),
    program("UCBrowser/", "UC Browser"),
    program("UBrowser/", "UC Browser"),
    program("MQQBrowser/", "QQ Browser"),
    program("QQBrowser/", "QQ Browser"),
    program("MiuiBrowser/", "MIUI Browser"),
    program("HeyTapBrowser/", "HeyTap Browser"),
    program("VivoBrowser/", "Vivo Browser"),
    program("HuaweiBrowser/", "Huawei Browser"),
    program("SogouMobileBrowser/", "Sogou Browser"),
    program("MetaSr ", "Sogou Browser"),
    program("QihooBrowser/", "360 Browser"),
    program("360SE", "360 Browser").version(Absent),
    program("coc_coc_browser/", "Coc Coc"),
    program("Silk/", "Amazon Silk"),
    program("Puffin/", "Puffin"),
    program("Maxthon/", "Maxthon"),
    program("Sleipnir/", "Sleipnir"),
    program("AlohaBrowser/", "Aloha"),
    program("Quark/", "Quark"),
    program("Ecosia ", "Ecosia").version(After("Chrome/")),
    program("Focus/", "Firefox Focus"),
    program("Klar/", "Firefox Klar"),
    program("SeaMonkey/", "SeaMonkey"),
    program("PaleMoon/", "Pale Moon"),
    program("Waterfox/", "Waterfox"),
    program("FxiOS/", "Firefox"),
    program("Epiphany/", "GNOME Web"),
    program("Konqueror/", "Konqueror"),
    program("Falkon/", "Falkon"),
    program("NintendoBrowser/", "Nintendo Browser"),
    program("Roku/DVP-", "Roku"),
    program("Roku/", "Roku").version(Absent),
    program("SMART-TV", "Samsung TV Browser").version(Absent),
    // The great browsers, and what their engines are called where nothing else is said.
    program("MSIE ", "Internet Explorer"),
    program("Trident/7.0", "Internet Explorer").version(After("rv:")),
    program("Firefox/", "Firefox"),
    program("CriOS/", "Chrome"),
    program("Chromium/", "Chromium"),
    program("wv)", "Android WebView").version(After("Chrome/")),
    program("Version/4.0 Chrome/", "Android WebView"),
    program("Chrome/", "Chrome"),
    program("Dalvik/", "Dalvik"),
];

/// Names for what is left, where a system tells: Apple's browser and Android's old one give no
/// name but the engine's.
pub(crate) static PLAIN_WEBKIT: Table<Program, { PLAIN_WEBKIT_RULES.len() }> =
    Table::new(PLAIN_WEBKIT_RULES);

const PLAIN_WEBKIT_RULES: &[Rule<Program>] = &[
    program("Android", "Android Browser").version(After("Version/")),
    program("BB10", "BlackBerry Browser").version(After("Version/")),
    program("BlackBerry", "BlackBerry Browser").version(After("Version/")),
    program("Version/", "Safari"),
    program("like Mac OS X", "iOS WebView").version(Absent),
];
