-- The configuration of an OpenResty balancer, as `difygate import` reads it.
local cjson = require("cjson.safe")

local dify_port = 5001
local _M = {}

_M.applications = {
    ["customer_service"] = {
        user_tokens = { "usertoken--customer-service-v1", "usertoken--cs-2" },
        instances = {
            { name = "dify1", host = "127.0.0.1", port = dify_port, token = "app-shop-1", weight = 1, max_fails = 3, fail_timeout = 30 },
            { name = "dify2", host = "127.0.0.1", port = 5002, token = "app-shop-2", weight = 2 },
        },
    },
    ["document_summary"] = {
        user_tokens = { os.getenv("SUMMARY_TOKEN") or "usertoken--document-summary" },
        instances = {
            { name = "dify1", host = "127.0.0.1", port = dify_port, token = "app-" .. "flow-1" },
        },
    },
}

_M.consistent_hash = { virtual_nodes = 160, hash_algorithm = "crc32" }
_M.health_check = { interval = 10, timeout = 5 }

function _M.get_application(name)
    return _M.applications[name]
end

return _M
