use std::env;
use ureq::Agent;
use ureq::http::Uri;

/// The variables that may name a proxy, in the order in which ureq looks at them.
const VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// A proxy on the way to the hub.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its address, without the name and the password that may be in the variable.
    pub address: String,
}

impl Proxy {
    /// The proxy that an agent takes to an address.
    pub(crate) fn to(url: &str, agent: &Agent) -> Option<Self> {
        let config = agent.config();
        let proxy = config.proxy()?;
        if url.parse::<Uri>().is_ok_and(|uri| proxy.is_no_proxy(&uri)) {
            return None;
        }
        let named = |name: &&str| env::var(name).is_ok_and(|value| ureq::Proxy::new(&value).is_ok());
        let variable = VARIABLES.into_iter().find(named)?;
        let scheme = proxy.uri().scheme_str().unwrap_or("http");
        Some(Self { variable, address: format!("{scheme}://{}:{}", proxy.host(), proxy.port()) })
    }
}
