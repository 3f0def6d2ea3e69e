// This file connects to receivers without sending a message.

package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// Connect reads the secrets of a notifier, and connects to its receiver, without a message. Any response will do: the request is for the root
// of the host, and has no secret. Its errors contain no part of the URL but the host.
func (c SenderConfig) Connect(ctx context.Context) error {
	address := senderKinds[c.kind].url
	var err error
	if c.urlFile != "" {
		address, err = c.ReadURL()
	}
	if err == nil && c.keyFile != "" {
		_, err = webhook.URLFromFile(c.keyFile)()
	}
	if err != nil {
		return err
	}
	receiver, err := url.Parse(address)
	if err != nil || receiver.Scheme != "http" && receiver.Scheme != "https" || receiver.Host == "" {
		return errors.New("the file holds no URL that begins with http:// or https://")
	}
	root := url.URL{Scheme: receiver.Scheme, Host: receiver.Host, Path: "/"}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, root.String(), nil)
	if err != nil {
		return errors.New("the file holds no valid URL")
	}
	response, err := webhook.NewGuardedClient(c.allow).Do(request)
	if err != nil {
		if failed := (*url.Error)(nil); errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("reach %s: %w", receiver.Host, err)
	}
	response.Body.Close()
	return nil
}
