//! nginx with its Lua module from Debian: what OpenResty does, with a ring that is made once, and
//! cjson for the user in the body.

use std::fmt::Write;

use anyhow::{Context, ensure};
use rustix::process::Signal;

use crate::contender::{Contender, Scene, installed};
use crate::speed::entry::{Entry, proxies_only};
use crate::speed::scene::{Setup, key};

pub(super) const ENTRY: Entry = Entry { name: "nginx+Lua", setup, leaves: proxies_only };

const MODULES: &str = "/usr/lib/nginx/modules";

fn setup(setup: Setup) -> Contender {
    Contender {
        name: "nginx+Lua",
        program: || {
            let module = std::path::Path::new(MODULES).join("ngx_http_lua_module.so");
            ensure!(module.exists(), "no Lua module: `apt-get install libnginx-mod-http-lua`");
            installed("nginx")
        },
        version: &["-v"],
        token: "",
        reload: Signal::HUP,
        configure: if setup == Setup::Plain { plain } else { full },
    }
}

fn plain(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let addr = scene.instances.first().context("no instance")?;
    let servers = format!("upstream dify {{ server {addr} max_fails=3 fail_timeout=2s; KEPT }}");
    start(scene, &servers, "")
}

fn full(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let mut tables = String::from("tokens = {");
    for (token, app) in Setup::Full.tokens() {
        let _ = write!(tables, "[\"Bearer {token}\"]={}, ", app + 1);
    }
    tables.push_str("}\napps = {");
    for app in 0..Setup::Full.size().0 {
        tables.push('{');
        for (number, addr) in scene.instances.iter().enumerate() {
            let (host, port, key) = (addr.ip(), addr.port(), key(app, number));
            let _ = write!(tables, "{{host=\"{host}\", port={port}, key=\"Bearer {key}\"}}, ");
        }
        tables.push_str("}, ");
    }
    tables.push('}');
    scene.write("apps.lua", &format!("{tables}\n{RING}"))?;
    let servers = "lua_shared_dict fails 1m;
    init_by_lua_file FOLDER/apps.lua;
    upstream dify { server 0.0.0.1; balancer_by_lua_block { balance() } KEPT }";
    start(
        scene,
        servers,
        "set $key ''; access_by_lua_block { choose() }
            proxy_set_header Authorization $key;",
    )
}

fn start(scene: &Scene, servers: &str, work: &str) -> anyhow::Result<Vec<String>> {
    // The folder is ours alone, so a worker that gave up its rights could not write there.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let text = TEMPLATE
        .replace("USER\n", user)
        .replace("SERVERS", servers)
        .replace("WORK", work)
        .replace("KEPT", "keepalive 8192; keepalive_requests 1000000; keepalive_timeout 300s;")
        .replace("MODULES", MODULES)
        .replace("FOLDER", &scene.folder.display().to_string())
        .replace("LISTEN", &scene.listen.to_string());
    let path = scene.write("nginx.conf", &text)?;
    let error_log = scene.folder.join("error.log").display().to_string();
    Ok(["-e", &error_log, "-c", &path].map(str::to_owned).to_vec())
}

// A location with headers of its own does not inherit `Connection ''`, and without that
// connections to the instances are not kept.
const TEMPLATE: &str = r"USER
load_module MODULES/ndk_http_module.so;
load_module MODULES/ngx_http_lua_module.so;
daemon off;
worker_processes 1;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events { worker_connections 20000; }
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    client_max_body_size 100m;
    client_body_buffer_size 256k;
    keepalive_requests 1000000;
    keepalive_timeout 300s;
    SERVERS
    server {
        listen LISTEN backlog=8192;
        location / {
            WORK
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_set_header Host $host;
            proxy_buffering off;
            proxy_read_timeout 300s;
            proxy_pass http://dify;
        }
        location /v1/files/ {
            # Passed on as it comes.
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_set_header Host $host;
            proxy_pass http://dify;
        }
    }
}
";

const RING: &str = r#"
local cjson, balancer, bit = require "cjson.safe", require "ngx.balancer", require "bit"
local points, places = {}, {}
for number = 1, #apps[1] do
    for turn = 1, 160 do
        points[#points + 1] = { ngx.crc32_long(number .. "-" .. turn), number }
    end
end
table.sort(points, function(a, b) return a[1] < b[1] end)
for place = 1, #points do places[place], points[place] = points[place][2], points[place][1] end

local function find(user)
    local hash, low, high = ngx.crc32_long(user), 1, #points
    while low < high do
        local middle = bit.rshift(low + high, 1)
        if points[middle] < hash then low = middle + 1 else high = middle end
    end
    if points[low] < hash then low = 1 end
    return low
end

function choose()
    local app = apps[tokens[ngx.var.http_authorization]]
    if not app then return ngx.exit(401) end
    ngx.req.read_body()
    local data = ngx.req.get_body_data()
    local body = data and cjson.decode(data)
    local place = find(type(body) == "table" and body.user or ngx.var.remote_addr)
    local fails, instance = ngx.shared.fails, nil
    for _ = 1, #places do
        instance = app[places[place]]
        if (fails:get(instance.port) or 0) < 3 then break end
        place = place % #places + 1
    end
    ngx.ctx.instance = instance
    ngx.var.key = instance.key
end

function balance()
    local instance = ngx.ctx.instance
    if balancer.get_last_failure() then ngx.shared.fails:incr(instance.port, 1, 0, 2) end
    balancer.set_current_peer(instance.host, instance.port)
end
"#;
