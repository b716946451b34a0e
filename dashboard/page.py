"""The page: its frame, and the one question it asks the server again and again."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component
from fastapi import FastAPI

from dashboard import parts, words
from dashboard.figures import rate_figure, shares_figure, stars_figure
from dashboard.latest import Asking, Latest
from dashboard.queries import Snapshot
from dashboard.reader import Reading, StoreReader
from dashboard.status import status_of
from dashboard.window import window_at
from reviewpulse.settings import DashboardSettings

log = logging.getLogger(__name__)

_PATIENCE: Final = 0.5
"""The share of the refresh time that a refresh may wait for the store: the next one must not overtake it."""

_INDEX: Final = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E
%3Cpath fill='%23c2303f' d='M1 10h4v5H1z'/%3E%3Cpath fill='%23b3b7bb' d='M6 6h4v9H6z'/%3E
%3Cpath fill='%232a72b5' d='M11 1h4v14h-4z'/%3E%3C/svg%3E">
{%css%}
</head>
<body>
{%app_entry%}
<noscript>This page needs JavaScript.</noscript>
<footer>
{%config%}
{%scripts%}
{%renderer%}
</footer>
</body>
</html>
"""

Answer = dict[str, Any]
"""One value for each output of the refresh, by the names in _OUTPUTS."""

_OUTPUTS: Final = {
    "sentence": Output("status", "children"),
    "kind": Output("status", "className"),
    "tiles": Output("tiles", "children"),
    "shares": Output("shares", "figure"),
    "classes": Output("classes", "children"),
    "stars": Output("stars", "figure"),
    "rate": Output("rate", "figure"),
    "newest": Output("newest", "children"),
    "model": Output("model", "children"),
    "news": Output("news", "data"),
}


def build_app(settings: DashboardSettings, store_url: str, *, has_login: bool = False) -> Dash:
    """Return the dashboard of a store, which need not exist yet; raises StoreError when it is no URL."""
    latest = Latest(
        StoreReader(store_url, settings.window_minutes * 60).read,
        patience_seconds=settings.refresh_seconds * _PATIENCE,
    )
    app = Dash(
        "dashboard",
        server=FastAPI(openapi_url=None),  # type: ignore[arg-type]  # no API pages: they would load from elsewhere
        title="reviewpulse",
        update_title="",
        index_string=_INDEX,
        add_log_handler=False,
        on_error=_log_failure,
    )
    app.backend.websocket_capability = False  # else each browser opens a websocket that nothing uses
    app.layout = layout(settings, datetime.now(tz=UTC), has_login=has_login)
    _add_callbacks(app, settings, latest.reading)
    return app


def layout(settings: DashboardSettings, now: datetime, *, has_login: bool = False) -> Component:
    """Return the page before its first answer: everything has its place already, so nothing jumps."""
    first = answer(Asking(), settings, now, {"n": 0})
    return html.Main(
        [
            dcc.Interval(id="tick", interval=max(1, round(settings.refresh_seconds * 1000))),
            dcc.Store(id="ask"),
            dcc.Store(id="news"),
            _head(settings, first, has_login=has_login),
            html.Div(
                [
                    html.Dl(first["tiles"], id="tiles"),
                    _charts(first),
                    html.Section([html.H2("Newest reviews"), html.Div(first["newest"], id="newest")]),
                    html.P(first["model"], id="model"),
                ],
                id="content",
            ),
        ],
        id="page",
    )


def answer(reading: Reading | Asking, settings: DashboardSettings, now: datetime, ask: object) -> Answer:
    """Return all that the page shows of a reading, for the viewer who sent `ask` (see heartbeat.js), if it is one."""
    asked = ask if isinstance(ask, dict) else {}
    zone = words.zone_of(asked.get("minutes_east"))
    snapshot = reading if isinstance(reading, Snapshot) else None
    window = snapshot.window if snapshot else window_at(now, settings.window_minutes * 60)
    buckets = snapshot.buckets if snapshot else ()
    newest = snapshot.newest if snapshot else ()
    status = status_of(reading, now, zone)
    return {
        "sentence": status.sentence,
        "kind": f"status {status.kind}",
        "tiles": parts.tiles(snapshot, settings.window_minutes),
        "shares": shares_figure(buckets, window, zone),
        "classes": parts.classes_table(snapshot.counts if snapshot else None),
        "stars": stars_figure(buckets, window, zone),
        "rate": rate_figure(buckets, window, zone),
        "newest": parts.newest_table(newest, now),
        "model": f"Model of the newest review: {newest[0].model}." if newest else words.NOTHING,
        "news": {"n": asked.get("n"), "clock": words.clock(now, now, zone)},
    }


def _head(settings: DashboardSettings, first: Answer, *, has_login: bool) -> Component:
    pause = html.Button("Pause", id="pause", type="button")
    logout = html.Form(html.Button("Log out", type="submit"), action="/logout", method="post")
    return html.Header(
        [
            html.Div(
                [
                    html.H1("What customers feel"),
                    html.P(f"reviewpulse, last {words.span(settings.window_minutes)}", className="window"),
                ]
            ),
            html.Div(
                [
                    html.P(first["sentence"], id="status", className=first["kind"]),
                    html.P(id="notice", className="status gone"),
                ],
                id="state",
                role="status",
            ),
            html.Div([pause, logout], className="buttons") if has_login else pause,
        ]
    )


def _charts(first: Answer) -> Component:
    return html.Div(
        [
            _chart("shares", "Share of the five classes", "share of the five classes over time", first),
            html.Section([html.H2("Classes"), html.Div(first["classes"], id="classes")], className="classes"),
            _chart("stars", "Mean stars", "mean stars over time, from 1 to 5", first),
            _chart("rate", "Reviews a second", "reviews scored a second over time", first),
        ],
        id="charts",
    )


def _chart(name: str, heading: str, description: str, first: Answer) -> Component:
    graph = dcc.Graph(
        id=name, figure=first[name], config={"displayModeBar": False}, responsive=True, style={"height": "100%"}
    )
    return html.Section(
        [
            html.H2(heading),
            html.Div(graph, className="plot", role="img", **parts.aria("label", f"Chart: {description}")),
        ],
        className=f"chart {name}",
    )


def _add_callbacks(
    app: Dash, settings: DashboardSettings, read: Callable[[datetime], Awaitable[Reading | Asking]]
) -> None:
    def in_browser(function: str, *arguments: Output | Input | State) -> None:
        app.clientside_callback(ClientsideFunction("reviewpulse", function), *arguments)  # type: ignore[no-untyped-call]

    in_browser(
        "ask",
        Output("ask", "data"),
        Input("tick", "n_intervals"),
        Input("pause", "n_clicks"),
        State("ask", "data"),
        State("news", "data"),
        State("tick", "interval"),
    )
    in_browser(
        "watch",
        Output("notice", "children"),
        Output("page", "className"),
        Output("pause", "children"),
        Input("tick", "n_intervals"),
        Input("pause", "n_clicks"),
        State("ask", "data"),
        State("news", "data"),  # as an Input it would hold this back until a hung server answers
        State("tick", "interval"),
    )

    @app.callback(output=_OUTPUTS, inputs={"ask": Input("ask", "data")}, prevent_initial_call=True)
    async def refresh(ask: object) -> Answer:
        now = datetime.now(tz=UTC)
        return answer(await read(now), settings, now, ask)


def _log_failure(error: Exception) -> None:
    """Keep the failure in the log; the page notices by itself that no answer came."""
    log.error("a refresh failed", exc_info=error)
    raise error
