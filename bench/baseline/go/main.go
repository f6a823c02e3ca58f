// The baseline of the runtime's benchmarks: the same controllers as bench/controller.c, written on controller-runtime as a careful author would: typed
// objects, managedFields stripped before they are kept, ten workers, no client-side rate limit.
//
//	baseline controller tenant|greeting METRICS-ADDRESS [RUNS]   prints a line when so many runs have ended
//	baseline sign                          nanoseconds a signature of a PUT of a bucket by the AWS SDK
//	baseline decode map|struct FILE        nanoseconds an event of encoding/json over a file of watch events
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

var reconciled, awaited atomic.Int64

// ended is deferred by every run.
func ended() {
	if reconciled.Add(1) == awaited.Load() {
		fmt.Println("ended")
	}
}

type tenants struct{ client.Client }

// A Tenant whose last run made it as its spec says needs nothing.
func (r *tenants) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	defer ended()
	var tenant Tenant
	if err := r.Get(ctx, request.NamespacedName, &tenant); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{}, nil
}

type greetings struct{ client.Client }

func (r *greetings) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	defer ended()
	var greeting Greeting
	if err := r.Get(ctx, request.NamespacedName, &greeting); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	message := "Hello, " + greeting.Spec.Who + "!"
	if greeting.DeletionTimestamp != nil || greeting.Status.Message == message {
		return ctrl.Result{}, nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]string{"message": message}})
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.Status().Patch(ctx, &greeting, client.RawPatch("application/merge-patch+json", patch))
}

func run(kind, address string) error {
	log.SetLogger(zap.New(zap.UseDevMode(false), zap.WriteTo(os.Stderr)))
	scheme := runtime.NewScheme()
	register(scheme)
	config := ctrl.GetConfigOrDie()
	config.QPS = -1
	config.UserAgent = "bench-baseline"
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: metrics.Options{BindAddress: address},
		Cache:   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	})
	if err != nil {
		return err
	}
	builder := ctrl.NewControllerManagedBy(manager).WithOptions(controller.Options{MaxConcurrentReconciles: 10})
	if kind == "tenant" {
		err = builder.For(&Tenant{}).Complete(&tenants{manager.GetClient()})
	} else {
		err = builder.For(&Greeting{}).Complete(&greetings{manager.GetClient()})
	}
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

// used is the CPU time of this process, its garbage collector's too.
func used() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func decode(how, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var lines [][]byte
	for start, i := 0, 0; i < len(text); i++ {
		if text[i] == '\n' {
			lines = append(lines, text[start:i])
			start = i + 1
		}
	}
	type event struct {
		Type   string `json:"type"`
		Object Tenant `json:"object"`
	}
	begun := used()
	rounds := 0
	for used()-begun < time.Second {
		for _, line := range lines {
			if how == "map" {
				var tree map[string]any
				err = json.Unmarshal(line, &tree)
			} else {
				var e event
				err = json.Unmarshal(line, &e)
			}
			if err != nil {
				return err
			}
		}
		rounds++
	}
	fmt.Printf("%d\n", (used()-begun).Nanoseconds()/int64(rounds*len(lines)))
	return nil
}

// sign is the signer of the SDK, as its S3 client uses it: the key of the day is kept.
func sign() error {
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	key := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	request, err := http.NewRequest(http.MethodPut, "http://127.0.0.1:9000/acme-uploads", nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Amz-Content-Sha256", empty)
	when := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	begun := used()
	count := 0
	for used()-begun < time.Second {
		for range 1000 {
			if err := signer.SignHTTP(context.Background(), key, request, empty, "s3", "us-east-1", when); err != nil {
				return err
			}
		}
		count += 1000
	}
	fmt.Printf("%d\n", (used()-begun).Nanoseconds()/int64(count))
	return nil
}

func main() {
	var err error
	switch {
	case (len(os.Args) == 4 || len(os.Args) == 5) && os.Args[1] == "controller":
		if len(os.Args) == 5 {
			var runs int64
			if runs, err = strconv.ParseInt(os.Args[4], 10, 64); err != nil {
				break
			}
			awaited.Store(runs)
		}
		err = run(os.Args[2], os.Args[3])
	case len(os.Args) == 2 && os.Args[1] == "sign":
		err = sign()
	case len(os.Args) == 4 && os.Args[1] == "decode":
		err = decode(os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("usage: baseline controller tenant|greeting ADDRESS [RUNS] | baseline decode map|struct FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
