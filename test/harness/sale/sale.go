// Package sale installs the scaler on a stack, with a broker for its events and a receiver for its alerts, and runs a flash sale.
package sale

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	httpevent "github.com/tachometer-metrics/tachometer/pkg/scaler/event/http"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The constants of a sale in these tests.
const (
	NewPods = 20
	Pods    = 2 + NewPods // with those before
	topic   = "sales"
	secret  = "only-for-this-cluster"
	name    = "tachometer-scaler"
	wait    = 2 * time.Minute
	gateMap = "gate"
)

//go:embed config.yaml
var config string

// Sale is the scaler on a stack, with its broker and its receiver of alerts.
type Sale struct {
	stack  *stack.Stack
	broker *kfake.Cluster
	port   *brokerListener // of the broker
	client *kgo.Client
	alerts *alerts
}

// Up installs the scaler from the image on the node, and waits until it is ready.
func Up(ctx context.Context, s *stack.Stack) (*Sale, error) {
	return UpWith(ctx, s, func(config string) string { return config })
}

// UpWith is Up with another configuration, which edit makes from that of a sale.
func UpWith(ctx context.Context, s *stack.Stack, edit func(config string) string) (*Sale, error) {
	sale := &Sale{stack: s}
	if err := sale.startSale(ctx, edit(config)); err != nil {
		return nil, errors.Join(err, sale.Down(context.WithoutCancel(ctx)))
	}
	return sale, nil
}

func (s *Sale) startSale(ctx context.Context, config string) (err error) {
	host := s.stack.Cluster.HostIP()
	if err := s.startBroker(ctx, host); err != nil {
		return err
	}
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.broker.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0)); err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	if s.alerts, err = newAlerts(ctx, host); err != nil {
		return err
	}
	if err := s.stack.Apply(ctx, "test/harness/sale/manifests"); err != nil {
		return err
	}
	text := strings.ReplaceAll(config, "BROKER", s.broker.ListenAddrs()[0])
	if err := s.createConfig(ctx, text); err != nil {
		return err
	}
	_, err = s.stack.Kubectl(ctx, "-n", stack.AdapterNamespace, "rollout", "status", "deploy/"+name, "--timeout="+wait.String())
	return err
}

// createConfig creates the objects that the scaler's pods mount; the pods wait for them.
func (s *Sale) createConfig(ctx context.Context, text string) error {
	core := s.stack.Client.CoreV1()
	_, err := core.ConfigMaps(stack.AdapterNamespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-config"}, Data: map[string]string{"config.yaml": text},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the configuration: %w", err)
	}
	_, err = core.Secrets(stack.AdapterNamespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"hmac": secret, "oncall": s.alerts.alertsURL()},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the secret: %w", err)
	}
	return nil
}

// Down removes the scaler, the broker and the receiver.
func (s *Sale) Down(ctx context.Context) error {
	_, err := s.stack.Kubectl(ctx, "delete", "--ignore-not-found", "-n", stack.AdapterNamespace,
		"deploy/"+name, "configmap/"+name+"-config", "secret/"+name, "lease/"+name, "configmap/"+name+"-events")
	if s.client != nil {
		s.client.Close()
	}
	if s.broker != nil {
		s.broker.Close()
	}
	if s.alerts != nil {
		err = errors.Join(err, s.alerts.server.Close())
	}
	return err
}

// Broker returns the address of the broker.
func (s *Sale) Broker() string { return s.broker.ListenAddrs()[0] }

// InterruptBroker makes the broker refuse connections until ResumeBroker.
func (s *Sale) InterruptBroker() error { return s.port.interruptBrokerListener() }

// ResumeBroker makes the broker accept connections again, with the records of before.
func (s *Sale) ResumeBroker(ctx context.Context) error { return s.port.resumeBrokerListener(ctx) }

// RejectAlerts makes the receiver reject alerts, so that no retry helps, or take them again.
func (s *Sale) RejectAlerts(reject bool) { s.alerts.reject.Store(reject) }

// startBroker starts kfake at an address that pods reach. It speaks Kafka's protocol and keeps records in memory.
func (s *Sale) startBroker(ctx context.Context, host string) (err error) {
	s.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.Ports(0),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			port, err := listenForBroker(ctx, network, net.JoinHostPort(host, "0"))
			s.port = port
			return port, err
		}))
	if err != nil {
		return fmt.Errorf("start a broker: %w", err)
	}
	return nil
}

// Event returns a sale's event that is valid for ttl from now.
func Event(id, kind string, ttl time.Duration) []byte {
	data, err := json.Marshal(map[string]string{
		"id": id, "type": kind, "at": time.Now().UTC().Format(time.RFC3339Nano), "ttl": ttl.String(),
	})
	if err != nil {
		panic(err) // a map of strings always marshals
	}
	return data
}

// The types of events.
const (
	Start = "FLASH_SALE_START"
	End   = "FLASH_SALE_END"
)

// Publish appends an event to the topic.
func (s *Sale) Publish(ctx context.Context, event []byte) error {
	if err := s.client.ProduceSync(ctx, &kgo.Record{Key: []byte("events"), Value: event}).FirstErr(); err != nil {
		return fmt.Errorf("publish an event: %w", err)
	}
	return nil
}

// Post sends a signed event to a ready replica of the scaler, and returns the status and the body of the response.
func (s *Sale) Post(ctx context.Context, event []byte, key string) (int, string, error) {
	pods, err := s.stack.Client.CoreV1().Pods(stack.AdapterNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + name})
	if err != nil {
		return 0, "", err
	}
	i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.PodIP != "" && p.DeletionTimestamp == nil })
	if i < 0 {
		return 0, "", errors.New("no pod of the scaler runs")
	}
	address := "http://" + net.JoinHostPort(pods.Items[i].Status.PodIP, "8443") + httpevent.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(event))
	if err != nil {
		return 0, "", err
	}
	stamp, signature := httpevent.Sign([]byte(key), nil, event, time.Now())
	request.Header.Set(httpevent.TimestampHeader, stamp)
	request.Header.Set(httpevent.SignatureHeader, signature)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	return answer.StatusCode, string(text), err
}

// Secret is the shared secret of senders over HTTP.
const Secret = secret

// Gate returns the state of the gate.
func (s *Sale) Gate(ctx context.Context) (string, error) {
	m, err := s.stack.Client.CoreV1().ConfigMaps(stack.SampleNamespace).Get(ctx, gateMap, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return m.Data["open"], nil
}

// Alerts returns the received alerts, as they were sent.
func (s *Sale) Alerts() []string { return s.alerts.allAlerts() }

// alerts is a receiver of webhooks.
type alerts struct {
	server   *http.Server
	listener net.Listener
	reject   atomic.Bool

	mu  sync.Mutex // guards got
	got []string
}

func newAlerts(ctx context.Context, host string) (*alerts, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen for alerts: %w", err)
	}
	a := &alerts{listener: listener}
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = a.server.Serve(listener) }()
	return a, nil
}

func (a *alerts) alertsURL() string { return "http://" + a.listener.Addr().String() + "/alerts" }

func (a *alerts) allAlerts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

// ServeHTTP stores the body of the request.
func (a *alerts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.reject.Load() {
		http.Error(w, "no such message", http.StatusBadRequest)
		return
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, string(text))
}
