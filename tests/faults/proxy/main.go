// The fault proxy stands between a program under test and the servers it uses: an HTTPS proxy with HTTP/2 before a Kubernetes API server, a proxy that
// speaks PostgreSQL's protocol, and HTTP proxies before an S3 server and its IAM service. It logs every request, which makes it the tests' witness, and does harm by rules that tests give it
// over a loopback endpoint: README.md one folder above.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	control, log                                                             string
	kubeListen, kubeUpstream, kubeCA, kubeCert, kubeKey, kubeAdmin, adminKey string
	http1                                                                    bool
	sqlListen, sqlUpstream, sqlCA, sqlCert, sqlKey                           string
	s3Listen, s3Upstream, iamListen, iamUpstream                             string
}

func parse() options {
	var o options
	flag.StringVar(&o.control, "control", "127.0.0.1:0", "where rules are taken; loopback only")
	flag.StringVar(&o.log, "log", "", "file for the request log, one JSON object a line; anew at each start")
	flag.StringVar(&o.kubeListen, "kube-listen", "", "where to be an API server; empty: nowhere")
	flag.StringVar(&o.kubeUpstream, "kube-upstream", "", "URL of the real one")
	flag.StringVar(&o.kubeCA, "kube-ca", "", "file with the authority of its certificate, and of clients' certificates")
	flag.StringVar(&o.kubeCert, "kube-cert", "", "certificate to show")
	flag.StringVar(&o.kubeKey, "kube-key", "", "its key")
	flag.StringVar(&o.kubeAdmin, "kube-admin-cert", "", "administrator's certificate, to impersonate whoever comes with a client certificate")
	flag.StringVar(&o.adminKey, "kube-admin-key", "", "its key")
	flag.BoolVar(&o.http1, "http1", false, "offer no HTTP/2")
	flag.StringVar(&o.sqlListen, "sql-listen", "", "where to be a PostgreSQL server; empty: nowhere")
	flag.StringVar(&o.sqlUpstream, "sql-upstream", "", "HOST:PORT of the real one")
	flag.StringVar(&o.sqlCA, "sql-ca", "", "file with the authority of its certificate; empty: no TLS upstream")
	flag.StringVar(&o.sqlCert, "sql-cert", "", "certificate to show; empty: no TLS for clients. The server's own lets channel binding work")
	flag.StringVar(&o.sqlKey, "sql-key", "", "its key")
	flag.StringVar(&o.s3Listen, "s3-listen", "", "where to be an S3 server, without TLS; empty: nowhere")
	flag.StringVar(&o.s3Upstream, "s3-upstream", "", "URL of the real one")
	flag.StringVar(&o.iamListen, "iam-listen", "", "where to be an IAM service, without TLS; empty: nowhere")
	flag.StringVar(&o.iamUpstream, "iam-upstream", "", "URL of the real one")
	flag.Parse()
	return o
}

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if err := run(parse()); err != nil {
		log.Fatal(err)
	}
}

func run(o options) error {
	var out io.Writer
	if o.log != "" {
		file, err := os.OpenFile(o.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		out = file
	}
	c := &control{rules: newRules(), log: newLog(out), conns: newConns(), certificates: map[string]*certificate{}}
	if err := loopback(o.control); err != nil {
		return err
	}
	failed := make(chan error, 5)
	serve := func(what, address string, start func(net.Listener) error) error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		log.Printf("%s at %s", what, l.Addr())
		go func() { failed <- start(l) }()
		return nil
	}
	if o.kubeListen != "" {
		server, err := kubeServer(o, c)
		if err != nil {
			return err
		}
		if err := serve("Kubernetes", o.kubeListen, func(l net.Listener) error {
			return server.ServeTLS(&listener{l, "kube", c.conns}, "", "")
		}); err != nil {
			return err
		}
	}
	if o.sqlListen != "" {
		proxy, err := sqlServer(o, c)
		if err != nil {
			return err
		}
		if err := serve("PostgreSQL", o.sqlListen, func(l net.Listener) error {
			return proxy.serve(&listener{l, "sql", c.conns})
		}); err != nil {
			return err
		}
	}
	for _, store := range []struct {
		d                dialect
		listen, upstream string
	}{{s3Dialect, o.s3Listen, o.s3Upstream}, {iamDialect, o.iamListen, o.iamUpstream}} {
		if store.listen == "" {
			continue
		}
		server, err := storeServer(store.d, store.upstream, c)
		if err != nil {
			return err
		}
		if err := serve(store.d.kind, store.listen, func(l net.Listener) error {
			return server.Serve(&listener{l, store.d.kind, c.conns})
		}); err != nil {
			return err
		}
	}
	steering := &http.Server{Handler: c.handler(), ReadHeaderTimeout: 10 * time.Second}
	// Last, so that whoever sees it answer may use the others.
	if err := serve("control", o.control, steering.Serve); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// loopback refuses an address that others could reach: rules can kill processes.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("--control has to be a loopback address, not %q", address)
	}
	return nil
}

func roots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(file + " holds no certificate")
	}
	return pool, nil
}

func kubeServer(o options, c *control) (*http.Server, error) {
	upstream, err := url.Parse(o.kubeUpstream)
	if err != nil {
		return nil, err
	}
	pool, err := roots(o.kubeCA)
	if err != nil {
		return nil, err
	}
	shown := &certificate{}
	if err := shown.load(o.kubeCert, o.kubeKey); err != nil {
		return nil, err
	}
	c.certificates["kube"] = shown
	var admin *tls.Certificate
	if o.kubeAdmin != "" {
		pair, err := tls.LoadX509KeyPair(o.kubeAdmin, o.adminKey)
		if err != nil {
			return nil, err
		}
		admin = &pair
	}
	k := newFront(kubeDialect, upstream, pool, admin, c.rules, c.log)
	c.rules.strike = append(c.rules.strike, k.strike)
	return newKubeServer(k, shown, pool, o.http1), nil
}

func newKubeServer(k *front, shown *certificate, clients *x509.CertPool, http1 bool) *http.Server {
	server := &http.Server{
		Handler:           k,
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: shown.get,
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients},
		ConnContext: func(ctx context.Context, raw net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, raw.(*tls.Conn).NetConn().(*conn))
		},
		// Resets are what this is for; they need no mention.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if http1 {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	return server
}

// storeServer is the front of one of an object store's services.
func storeServer(d dialect, upstream string, c *control) (*http.Server, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	return &http.Server{
		Handler:           newFront(d, target, nil, nil, c.rules, c.log),
		ReadHeaderTimeout: 30 * time.Second,
		ConnContext: func(ctx context.Context, raw net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, raw.(*conn))
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}, nil
}

func sqlServer(o options, c *control) (*sqlProxy, error) {
	host, _, err := net.SplitHostPort(o.sqlUpstream)
	if err != nil {
		return nil, err
	}
	p := newSQL(o.sqlUpstream, c.rules, c.log)
	c.rules.strike = append(c.rules.strike, p.strikeOpen)
	if o.sqlCA != "" {
		pool, err := roots(o.sqlCA)
		if err != nil {
			return nil, err
		}
		p.server = &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	if o.sqlCert != "" {
		shown := &certificate{}
		if err := shown.load(o.sqlCert, o.sqlKey); err != nil {
			return nil, err
		}
		c.certificates["sql"] = shown
		p.client = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: shown.get}
	}
	return p, nil
}
