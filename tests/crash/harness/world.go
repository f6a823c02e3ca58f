package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A world is the run folder's: an API server, a PostgreSQL server and an object store that are asked directly, the fault proxy's control
// endpoint, and the controller under test, which sees the servers through the proxy alone.
type world struct {
	run, binary string
	api         *http.Client
	apiURL      string
	faults      string // URL of the proxy's control endpoint
	sqlPort     string
	password    string
	store       *store
	resources   []resource
	controller  *controller
	seen        int64 // lines of the proxy's log that were read
}

// A controller is one process of it.
type controller struct {
	command *exec.Cmd
	exited  chan struct{} // closed when it has ended
}

const (
	startTimeout = 30 * time.Second
	namespace    = "tenantry-system"
)

func newWorld(run, binary string) (*world, error) {
	w := &world{run: run, binary: binary}
	port := func(name string) string {
		text, err := os.ReadFile(filepath.Join(run, "ports", name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	authority, err := os.ReadFile(w.path("pki/ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	pair, err := tls.LoadX509KeyPair(w.path("pki/admin.crt"), w.path("pki/admin.key"))
	if err != nil {
		return nil, err
	}
	w.api = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
	w.apiURL = "https://127.0.0.1:" + port("kube-apiserver")
	w.faults = "http://127.0.0.1:" + port("faults-control")
	w.sqlPort = port("postgres")
	password, err := os.ReadFile(w.path("postgres-password"))
	if err != nil {
		return nil, err
	}
	w.password = strings.TrimSpace(string(password))
	key, err := w.storeKey()
	if err != nil {
		return nil, err
	}
	w.store = newStore("http://127.0.0.1:"+port("s3"), "http://127.0.0.1:"+port("iam"), key)
	// The controller and the tenants reach the servers through the proxy.
	if err := w.merge(serverPath, fmt.Sprintf(`{"spec":{"port":%s}}`, port("faults-sql"))); err != nil {
		return nil, err
	}
	if err := w.merge(storePath, fmt.Sprintf(`{"spec":{"endpoint":"http://127.0.0.1:%s","accounts":{"endpoint":"http://127.0.0.1:%s"}}}`, port("faults-s3"), port("faults-iam"))); err != nil {
		return nil, err
	}
	w.resources, err = w.discover()
	return w, err
}

func (w *world) path(name string) string { return filepath.Join(w.run, name) }

var errNotFound = errors.New("not found")

// request asks the API server as an administrator. A server that has just started may want to be asked again.
func (w *world) request(method, path, contentType, body string) ([]byte, error) {
	return w.requestAs(method, path, "application/json", contentType, body)
}

// merge changes an object.
func (w *world) merge(path, patch string) error {
	_, err := w.request(http.MethodPatch, path, "application/merge-patch+json", patch)
	return err
}

func (w *world) requestAs(method, path, accept, contentType, body string) ([]byte, error) {
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(200 * time.Millisecond) {
		text, status, err := w.requestOnce(method, path, accept, contentType, body)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusNotFound:
			return nil, errNotFound
		case status < 300:
			return text, nil
		case status != http.StatusTooManyRequests || time.Now().After(deadline):
			return nil, fmt.Errorf("%s %s: %d: %s", method, path, status, text)
		}
	}
}

func (w *world) requestOnce(method, path, accept, contentType, body string) ([]byte, int, error) {
	request, err := http.NewRequest(method, w.apiURL+path, strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", accept)
	request.Header.Set("Content-Type", contentType)
	response, err := w.api.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return text, response.StatusCode, err
}

func (w *world) get(path string, into any) error {
	text, err := w.request(http.MethodGet, path, "", "")
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// psql runs a script as the superuser and returns its rows, bare.
func (w *world) psql(database, script string) (string, error) {
	command := exec.Command("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--file", "-",
		fmt.Sprintf("host=127.0.0.1 port=%s user=postgres dbname='%s' sslmode=verify-full sslrootcert=%s application_name=crash connect_timeout=10",
			w.sqlPort, database, w.path("postgres-ca.crt")))
	command.Env = append(os.Environ(), "PGPASSWORD="+w.password)
	command.Stdin = strings.NewReader(script)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("psql %s: %w: %s", database, err, problems.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// psqlJSON runs a query that gives one JSON value.
func (w *world) psqlJSON(database, query string, into any) error {
	text, err := w.psql(database, query)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// An entry is what the proxy logged of a request.
type entry struct {
	Seq, N      int64
	Time        time.Time
	Kind        string
	Connection  int64
	Phase       string
	Verb, Path  string
	What        string
	Write       bool
	Result      string
	Status      int
	Name        string
	Tag         string
	Transaction int64
}

// log returns what the proxy logged after that line.
func (w *world) log(since int64) ([]entry, error) {
	response, err := http.Get(fmt.Sprintf("%s/log?since=%d", w.faults, since))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var list []entry
	for decoder := json.NewDecoder(response.Body); ; {
		var e entry
		if err := decoder.Decode(&e); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
}

// mark is where the log ends now.
func (w *world) mark() (int64, error) {
	entries, err := w.log(w.seen)
	w.seen += int64(len(entries))
	return w.seen, err
}

// quiet waits until the controller has had nothing under way for so long. It returns false if that never came.
func (w *world) quiet(long, timeout time.Duration) (bool, error) {
	response, err := http.Get(fmt.Sprintf("%s/quiet?for=%s&timeout=%s", w.faults, long, timeout))
	if err != nil {
		return false, err
	}
	response.Body.Close()
	return response.StatusCode == http.StatusNoContent, nil
}

// addRule has the proxy strike at the nth request of that text.
func (w *world) addRule(p point, text string) (int, error) {
	action := map[string]any{"type": "kill", "when": p.when, "pid": w.controller.command.Process.Pid}
	if p.when == lost {
		action = map[string]any{"type": "lose"}
	}
	rule, err := json.Marshal(map[string]any{
		"match":  map[string]any{"kind": p.kind, "text": text, "nth": p.nth},
		"action": action,
	})
	if err != nil {
		return 0, err
	}
	response, err := http.Post(w.faults+"/rules", "application/json", bytes.NewReader(rule))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("the proxy refuses rule %s: %s", rule, answer)
	}
	var made struct{ ID int }
	err = json.Unmarshal(answer, &made)
	return made.ID, err
}

// fired tells whether the rule has struck.
func (w *world) fired(id int) (bool, error) {
	response, err := http.Get(fmt.Sprintf("%s/rules/%d", w.faults, id))
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var rule struct{ Fired int }
	err = json.NewDecoder(response.Body).Decode(&rule)
	return rule.Fired > 0, err
}

// removeRules takes all rules back.
func (w *world) removeRules() error {
	request, err := http.NewRequest(http.MethodDelete, w.faults+"/rules", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// start starts the controller and waits until it says that it is ready.
func (w *world) start() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	out, err := os.OpenFile(w.path("controller.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	command := exec.Command(w.binary, "--kubeconfig", w.path("faults/controller-kubeconfig"), "--registry-url-file", w.path("faults/registry-url"),
		"--metrics-address", address, "--leader-elect=false", "--drift-period", driftPeriod, "--log-level", "debug",
		// What is sampled depends on when; that it can be killed at any moment is shown by tests/billing.
		"--metering-period", "0s", "--meter-period", "0s")
	command.Stdout, command.Stderr = out, out
	// It must not outlive the harness.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	c := &controller{command: command, exited: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(c.exited)
	}()
	w.controller = c
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		if ready(ctx, address) {
			return nil
		}
		select {
		case <-c.exited:
			return fmt.Errorf("the controller ended while starting: %s; its log: %s", command.ProcessState, w.path("controller.log"))
		case <-ctx.Done():
			return fmt.Errorf("the controller was not ready within %s; its log: %s", startTimeout, w.path("controller.log"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ready(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// freePort is one that was free a moment ago. Metrics are all that is there, so the rare clash shows as a failed start.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// alive tells whether the controller runs.
func (w *world) alive() bool {
	if w.controller == nil {
		return false
	}
	select {
	case <-w.controller.exited:
		return false
	default:
		return true
	}
}

// died waits for the end of the controller that the proxy has killed, and tells if it was not that which ended it.
func (w *world) died() error {
	select {
	case <-w.controller.exited:
	case <-time.After(startTimeout):
		return errors.New("the controller survived SIGKILL")
	}
	status, ok := w.controller.command.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the controller ended by itself: %s", w.controller.command.ProcessState)
	}
	return nil
}

// stop ends the controller in good order, and says if it was not.
func (w *world) stop() error {
	if !w.alive() {
		return nil
	}
	if err := w.controller.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.controller.exited:
	case <-time.After(startTimeout):
		_ = w.controller.command.Process.Kill()
		<-w.controller.exited
		return errors.New("the controller did not end within 30 s of SIGTERM")
	}
	if !w.controller.command.ProcessState.Success() {
		return fmt.Errorf("the controller ended with %s after SIGTERM", w.controller.command.ProcessState)
	}
	return nil
}
