vcl 4.1;
# Everything that the origin has may be kept: its bodies do not change during a run.

backend origin {
    .host = "@{host}";
    .port = "@{port}";
}

sub vcl_backend_response {
    set beresp.ttl = 1d;
    set beresp.do_stream = true;
}
