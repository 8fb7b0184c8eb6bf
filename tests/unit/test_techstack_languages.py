"""What a project in Python, Go, Rust or another language is made with, as told by its files."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from vaporform_mcp.techstack import TechStack, detect, wanted

Shown = tuple[str | None, str | None, str | None, str | None, str | None, int | None]

VENV = 'PATH="$PWD/.venv/bin:$PWD/venv/bin:$PATH" python3'
PYPROJECT = '[project]\nname = "shop"\ndependencies = ["{}>=1"]\n'
GIN = "module shop\n\nrequire github.com/gin-gonic/gin v1.10.0\n"
SPRING = "<project><parent><artifactId>spring-boot-starter-parent</artifactId></parent></project>"


def stack_of(files: Mapping[str, str]) -> TechStack:
    """As the server does it: read what is wanted of the tree, and nothing else."""
    return detect(list(files), {path: files[path] for path in wanted(files)})


def package(*dev: str, **scripts: str) -> str:
    return json.dumps({"devDependencies": dict.fromkeys(dev, "*"), "scripts": scripts})


PYTHON: dict[str, tuple[dict[str, str], Shown]] = {
    "FastAPI with uv": (
        {
            "pyproject.toml": PYPROJECT.format("fastapi[standard]"),
            "uv.lock": "",
            "app/__init__.py": "",
            "app/main.py": "from fastapi import FastAPI\n\napp = FastAPI(title='x')\n",
        },
        ("Python", "FastAPI", "uv", "app/main.py", "uv run --no-sync uvicorn app.main:app", 8000),
    ),
    "FastAPI with pip": (
        {
            "requirements.txt": "fastapi==0.115\nuvicorn\n",
            "main.py": "from fastapi import FastAPI\napi: FastAPI = FastAPI()\n",
        },
        ("Python", "FastAPI", "pip", "main.py", f"{VENV} -m uvicorn main:api", 8000),
    ),
    "FastAPI in a src folder": (
        {
            "pyproject.toml": PYPROJECT.format("fastapi"),
            "poetry.lock": "",
            "src/shop/__init__.py": "",
            "src/shop/main.py": "from fastapi import FastAPI\nfrom shop.db import x\napp = FastAPI()",
        },
        ("Python", "FastAPI", "poetry", "src/shop/main.py", "poetry run uvicorn --app-dir src shop.main:app", 8000),
    ),
    "FastAPI in a folder that is no package": (
        {
            "requirements.txt": "fastapi",
            "app/main.py": "from fastapi import FastAPI\nfrom routes import router\napp = FastAPI()",
            "app/routes.py": "",
        },
        ("Python", "FastAPI", "pip", "app/main.py", f"{VENV} -m uvicorn --app-dir app main:app", 8000),
    ),
    "FastAPI made by a function": (
        {
            "requirements.txt": "fastapi",
            "main.py": "from fastapi import FastAPI\n\ndef create_app() -> FastAPI:\n    app = FastAPI()\n",
        },
        ("Python", "FastAPI", "pip", "main.py", f"{VENV} -m uvicorn --factory main:create_app", 8000),
    ),
    "FastAPI that starts itself": (
        {
            "requirements.txt": "fastapi",
            "main.py": "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\n"
            "if __name__ == '__main__':\n    uvicorn.run(app, host='0.0.0.0', port=8123)\n",
        },
        ("Python", "FastAPI", "pip", "main.py", f"{VENV} main.py", 8123),
    ),
    "FastAPI in a package that starts itself": (
        {
            "requirements.txt": "fastapi",
            "app/main.py": "import uvicorn\nfrom fastapi import FastAPI\nfrom .db import x\napp = FastAPI()\n"
            "uvicorn.run(app)\n",
        },
        ("Python", "FastAPI", "pip", "app/main.py", f"{VENV} -m app.main", 8000),
    ),
    "FastAPI that starts itself by its package's name": (
        {
            "requirements.txt": "fastapi",
            "app/main.py": "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\n"
            "uvicorn.run('app.main:app', reload=True)\n",
        },
        ("Python", "FastAPI", "pip", "app/main.py", f"{VENV} -m app.main", 8000),
    ),
    "a library with an example that serves": (
        {
            "pyproject.toml": PYPROJECT.format("flask"),
            "shop/__init__.py": "",
            "examples/app.py": "from flask import Flask\napp = Flask(__name__)\n",
        },
        ("Python", None, "pip", "shop", None, None),
    ),
    "FastAPI out of sight": (
        {"requirements.txt": "fastapi", "main.py": "from shop.web.factory import app\n"},
        ("Python", "FastAPI", "pip", "main.py", f"{VENV} -m uvicorn main:app", 8000),
    ),
    "Django": (
        {
            "requirements.txt": "Django>=5\n",
            "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x')\nfrom django.core import x",
            "shop/settings.py": "",
            "package.json": package("tailwindcss", dev="tailwindcss -w"),
        },
        ("Python", "Django", "pip", "manage.py", f"{VENV} manage.py runserver", 8000),
    ),
    "Django with pipenv": (
        {"Pipfile": '[packages]\ndjango = "*"\n', "manage.py": "django"},
        ("Python", "Django", "pipenv", "manage.py", "pipenv run python manage.py runserver", 8000),
    ),
    "Flask": (
        {"requirements.txt": "flask\n", "app.py": "from flask import Flask\napp = Flask(__name__)\n"},
        ("Python", "Flask", "pip", "app.py", f"{VENV} -m flask --app app run", 5000),
    ),
    "Flask that starts itself": (
        {
            "requirements.txt": "Flask==3",
            "app.py": "from flask import Flask\napp = Flask(__name__)\n"
            "if __name__ == '__main__':\n    app.run(port=int(os.environ.get('PORT', 5001)))\n",
        },
        ("Python", "Flask", "pip", "app.py", f"{VENV} app.py", 5001),
    ),
    "Flask without any manifest": (
        {"app.py": "import flask\napp = flask.Flask(__name__)\napp.run(port=8080)\n"},
        ("Python", "Flask", None, "app.py", f"{VENV} app.py", 8080),
    ),
    "Flask made by a package and started beside it": (
        {
            "requirements.txt": "flask",
            "app/__init__.py": "from flask import Flask\ndef create_app():\n    return Flask(__name__)\n",
            "run.py": "from app import create_app\napp = create_app()\napp.run(debug=True)\n",
        },
        ("Python", "Flask", "pip", "app/__init__.py", f"{VENV} run.py", 5000),
    ),
    "Flask made by a package": (
        {
            "pyproject.toml": PYPROJECT.format("flask"),
            "pdm.lock": "",
            "src/shop/__init__.py": "from flask import Flask\ndef create_app():\n    return Flask(__name__)\n",
        },
        ("Python", "Flask", "pdm", "src/shop/__init__.py", "pdm run flask --app src/shop run", 5000),
    ),
    "Starlette": (
        {
            "requirements.txt": "starlette\nuvicorn",
            "app.py": "from starlette.applications import Starlette\napp = Starlette(routes=[])",
        },
        ("Python", "Starlette", "pip", "app.py", f"{VENV} -m uvicorn app:app", 8000),
    ),
    "Streamlit": (
        {
            "requirements.txt": "streamlit\npandas\n",
            "streamlit_app.py": "import streamlit as st\nst.title('x')\n",
        },
        (
            "Python",
            "Streamlit",
            "pip",
            "streamlit_app.py",
            f"{VENV} -m streamlit run streamlit_app.py --server.headless true",
            8501,
        ),
    ),
    "Gradio": (
        {
            "requirements.txt": "gradio\n",
            "app.py": "import gradio as gr\ndemo = gr.Interface(f, 'text', 'text')\ndemo.launch()\n",
        },
        ("Python", "Gradio", "pip", "app.py", f"{VENV} app.py", 7860),
    ),
    "aiohttp": (
        {
            "requirements.txt": "aiohttp",
            "server.py": "from aiohttp import web\napp = web.Application()\nweb.run_app(app, port=8090)\n",
        },
        ("Python", "aiohttp", "pip", "server.py", f"{VENV} server.py", 8090),
    ),
    "the standard library's server": (
        {
            "server.py": "from http.server import ThreadingHTTPServer\nPORT = 8001\n"
            "ThreadingHTTPServer(('', PORT), Handler).serve_forever()\n",
        },
        ("Python", None, None, "server.py", f"{VENV} server.py", 8001),
    ),
    "a program that serves nothing": ({"main.py": "print('hello')\n"}, ("Python", None, None, "main.py", None, None)),
    "a library": (
        {
            "pyproject.toml": '[project]\nname = "my-lib"\n[project.optional-dependencies]\nweb = ["flask"]\n',
            "src/my_lib/__init__.py": "",
            "tests/test_x.py": "",
        },
        ("Python", None, "pip", "src/my_lib", None, None),
    ),
    "poetry by its table": (
        {
            "pyproject.toml": '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\nflask = "^3"\n',
            "app.py": "from flask import Flask\napp = Flask(__name__)",
        },
        ("Python", "Flask", "poetry", "app.py", "poetry run flask --app app run", 5000),
    ),
    "setup.cfg": (
        {"setup.cfg": "[options]\ninstall_requires =\n    flask>=2\n    click\n", "wsgi.py": "from shop import app\n"},
        ("Python", "Flask", "pip", "wsgi.py", f"{VENV} -m flask --app wsgi run", 5000),
    ),
    "setup.py": (
        {"setup.py": "setup(name='x', install_requires=['flask>=2', \"click\"])", "wsgi.py": "from shop import app\n"},
        ("Python", "Flask", "pip", "wsgi.py", f"{VENV} -m flask --app wsgi run", 5000),
    ),
}

OTHERS: dict[str, tuple[dict[str, str], Shown]] = {
    "Gin": (
        {"go.mod": GIN, "main.go": 'package main\nfunc main() { r := gin.Default(); r.Run(":9090") }'},
        ("Go", "Gin", "go", "main.go", "go run .", 9090),
    ),
    "Go's own server in a command folder": (
        {
            "go.mod": "module shop\n",
            "cmd/migrate/main.go": "",
            "cmd/server/main.go": 'import "net/http"\nhttp.ListenAndServe(":8085", nil)',
        },
        ("Go", "net/http", "go", "cmd/server/main.go", "go run ./cmd/server", 8085),
    ),
    "Go's own server in one file": (
        {"main.go": 'package main\nimport "net/http"\nfunc main() { http.ListenAndServe("localhost:8087", nil) }'},
        ("Go", "net/http", None, "main.go", "go run main.go", 8087),
    ),
    "chi": (
        {"go.mod": "require github.com/go-chi/chi/v5 v5.1.0", "main.go": "http.ListenAndServe(addr, r)"},
        ("Go", "chi", "go", "main.go", "go run .", 3000),
    ),
    "Echo": (
        {"go.mod": "require github.com/labstack/echo/v4 v4.12.0", "main.go": "e.Start(address)"},
        ("Go", "Echo", "go", "main.go", "go run .", 1323),
    ),
    "Fiber": (
        {"go.mod": "require github.com/gofiber/fiber/v2 v2.52.0", "main.go": "app.Listen(port)"},
        ("Go", "Fiber", "go", "main.go", "go run .", 3000),
    ),
    "a Go program that serves nothing": (
        {"go.mod": "module x", "main.go": "package main\nfunc main() {}"},
        ("Go", None, "go", "main.go", None, None),
    ),
    "Axum": (
        {
            "Cargo.toml": '[package]\nname = "x"\n[dependencies]\naxum = "0.8"\ntokio = { version = "1" }\n',
            "src/main.rs": 'TcpListener::bind("0.0.0.0:3005").await',
        },
        ("Rust", "Axum", "cargo", "src/main.rs", "cargo run", 3005),
    ),
    "Actix Web": (
        {"Cargo.toml": '[dependencies]\nactix-web = "4"\n', "src/main.rs": '.bind(("127.0.0.1", 8081))?.run()'},
        ("Rust", "Actix Web", "cargo", "src/main.rs", "cargo run", 8081),
    ),
    "Rocket": (
        {"Cargo.toml": '[dependencies]\nrocket = "0.5"\n', "src/main.rs": "#[launch]"},
        ("Rust", "Rocket", "cargo", "src/main.rs", "cargo run", 8000),
    ),
    "warp": (
        {"Cargo.toml": '[dependencies]\nwarp = "0.3"\n', "src/main.rs": "serve(routes).run(([127, 0, 0, 1], 3031))"},
        ("Rust", "warp", "cargo", "src/main.rs", "cargo run", 3031),
    ),
    "a Rust library": (
        {"Cargo.toml": '[package]\nname = "x"\n[dev-dependencies]\naxum = "0.8"\n', "src/lib.rs": ""},
        ("Rust", None, "cargo", "src/lib.rs", None, None),
    ),
    "Rails": (
        {
            "Gemfile": 'source "x"\ngem "rails", "~> 8.0"\n',
            "bin/rails": "",
            "config/application.rb": "",
            "package.json": package(build="esbuild"),
        },
        ("Ruby", "Rails", "bundler", "config/application.rb", "ruby bin/rails server", 3000),
    ),
    "Sinatra": (
        {"Gemfile": "gem 'sinatra'\n", "app.rb": "set :port, 9494"},
        ("Ruby", "Sinatra", "bundler", "app.rb", "bundle exec ruby app.rb", 9494),
    ),
    "Laravel": (
        {
            "composer.json": '{"require": {"laravel/framework": "^12"}}',
            "artisan": "",
            "public/index.php": "",
            "package.json": package("vite", "laravel-vite-plugin", dev="vite"),
        },
        ("PHP", "Laravel", "composer", "artisan", "php artisan serve", 8000),
    ),
    "plain PHP": ({"index.php": ""}, ("PHP", None, None, "index.php", "php -S 127.0.0.1:8000", 8000)),
    "Spring Boot with Maven": (
        {"pom.xml": SPRING, "mvnw": "", "src/main/java/com/x/ShopApplication.java": ""},
        (
            "Java",
            "Spring Boot",
            "Maven",
            "src/main/java/com/x/ShopApplication.java",
            "sh ./mvnw spring-boot:run",
            8080,
        ),
    ),
    "Ktor with Gradle": (
        {"build.gradle.kts": 'implementation("io.ktor:ktor-server-core")', "src/main/kotlin/Application.kt": ""},
        ("Kotlin", "Ktor", "Gradle", "src/main/kotlin/Application.kt", "gradle run", 8080),
    ),
    "Deno with a task": (
        {
            "deno.json": '{\n  // tasks\n  "tasks": { "dev": "deno run --watch -A main.ts", },\n}',
            "main.ts": "Deno.serve({ port: 8111 }, handler)",
        },
        ("TypeScript", None, "deno", "main.ts", "deno task dev", 8111),
    ),
    "Deno without a task": (
        {"deno.json": '{"imports": {"hono": "jsr:@hono/hono"}}', "main.ts": "Deno.serve(app.fetch)"},
        ("TypeScript", "Hono", "deno", "main.ts", "deno run --allow-net --allow-read --allow-env main.ts", 8000),
    ),
    "Phoenix": (
        {"mix.exs": '{:phoenix, "~> 1.7"}', "lib/x.ex": ""},
        ("Elixir", "Phoenix", "mix", "mix.exs", "mix phx.server", 4000),
    ),
    "pages": (
        {"index.html": "", "style.css": "", "app.js": "document.title"},
        ("HTML", None, None, "index.html", "python3 -m http.server 8000", 8000),
    ),
    "pages with tools of Node's": (
        {"index.html": "", "script.js": "", "package.json": package("prettier", format="prettier .")},
        ("JavaScript", None, "npm", "index.html", "python3 -m http.server 8000", 8000),
    ),
    "a script": ({"backup.sh": ""}, ("Shell", None, None, "backup.sh", None, None)),
    "words": ({"README.md": "", "notes.txt": ""}, (None, None, None, None, None, None)),
    "nothing": ({}, (None, None, None, None, None, None)),
}


@pytest.mark.parametrize(("files", "expected"), [*PYTHON.values(), *OTHERS.values()], ids=[*PYTHON, *OTHERS])
def test_a_project_is_recognised(files: dict[str, str], expected: Shown) -> None:
    found = stack_of(files)
    shown = (
        found.language,
        found.framework,
        found.package_manager,
        found.entry,
        found.dev_command,
        found.dev_port,
    )
    assert shown == expected
