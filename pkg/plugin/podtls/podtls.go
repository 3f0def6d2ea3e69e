// Package podtls reads the certificate that a pod serves, over a port that kube-apiserver forwards to the pod.
package podtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // the types of client-go's own dialer
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport/spdy"
)

// portForwardProtocol is the version of kube-apiserver's protocol for forwarded ports.
const portForwardProtocol = "portforward.k8s.io"

// handshakeTimeout bounds the dial and the handshake together: a pod that accepts and says nothing must not hold up the command.
const handshakeTimeout = 5 * time.Second

// Reader reads certificates with the rights of Config's user, which must include create pods/portforward.
type Reader struct {
	Config *rest.Config
	Client kubernetes.Interface
}

// ReadCertificates returns the certificates that the pod serves on the port, the leaf first. It does not verify them. It takes at most
// handshakeTimeout; the error names the pod, and the port if kube-apiserver forwards it.
func (r Reader) ReadCertificates(ctx context.Context, namespace, pod string, port int32) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	connection, err := r.dialForwardedPod(namespace, pod)
	if err != nil {
		return nil, fmt.Errorf("forward a port of pod %s: %w", pod, err)
	}
	defer func() { _ = connection.Close() }() // nothing was sent that could be lost
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	data, failure, err := openForwardedStreams(connection, port)
	if err != nil {
		return nil, fmt.Errorf("forward port %d of pod %s: %w", port, pod, err)
	}
	// The doctor verifies the chain itself, against the caBundle of each APIService; nothing is sent over this connection.
	client := tls.Client(forwardedConn{data}, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // see above
	if err := client.HandshakeContext(ctx); err != nil {
		_ = connection.Close() // ends the read below
		if reason, _ := io.ReadAll(failure); len(reason) > 0 {
			return nil, fmt.Errorf("connect to port %d of pod %s: %s", port, pod, reason)
		}
		return nil, fmt.Errorf("TLS handshake with port %d of pod %s: %w", port, pod, err)
	}
	return client.ConnectionState().PeerCertificates, nil
}

func (r Reader) dialForwardedPod(namespace, pod string) (httpstream.Connection, error) {
	transport, upgrader, err := spdy.RoundTripperFor(r.Config)
	if err != nil {
		return nil, err
	}
	url := r.Client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	connection, _, err := dialer.Dial(portForwardProtocol)
	return connection, err
}

// openForwardedStreams opens the two streams of a forwarded connection: its data, and the reason if the kubelet cannot connect.
func openForwardedStreams(connection httpstream.Connection, port int32) (data, failure httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	if failure, err = connection.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	failure.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err = connection.CreateStream(headers)
	return data, failure, err
}

// forwardedConn makes a stream a net.Conn for crypto/tls. Its deadlines do nothing: the context closes the connection below.
type forwardedConn struct{ httpstream.Stream }

var _ net.Conn = forwardedConn{}

// LocalAddr implements net.Conn.
func (forwardedConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (forwardedConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn.
func (forwardedConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (forwardedConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (forwardedConn) SetWriteDeadline(time.Time) error { return nil }
